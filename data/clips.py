"""Clips of a fixed length, rate and size from the videos of an index."""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import psutil
import torch
from einops import rearrange
from torch import Tensor
from torch.utils.data import Dataset

from data.config import OnBadFile
from data.index import VideoIndex
from data.video.backends import Backend
from data.video.frames import BadVideo, VideoInfo, decode_all, read_frames
from runtime.errors import UserError
from runtime.progress import track
from runtime.random import generator

MEMORY_SHARE = 0.8
SEPARATOR = "\n"
Window = tuple[Tensor, float, bool]  # frames of a video, the time of the first, whether to flip


def skipped_files(batch: dict[str, list[str]]) -> set[str]:
    """Names of the files that gave way to others in a collated batch."""
    return {name for names in batch["skipped"] for name in names.split(SEPARATOR) if name}


def choose_window(info: VideoInfo, frames: int, fps: float, numbers: torch.Generator | None) -> Window:
    """The frames that a clip takes of a video (`t`), the time of the first, and whether to flip.

    `numbers` draw start and flip; without them it is the window in the middle, unflipped.
    """
    times = torch.arange(frames) * info.fps / fps
    room = max(info.frames - 1 - times[-1].item(), 0.0)
    start = room / 2 if numbers is None else torch.rand((), generator=numbers).item() * room
    flip = numbers is not None and torch.rand((), generator=numbers).item() < 0.5
    return (start + times).round().long().clamp(max=info.frames - 1), start, flip


def as_clip(frames: Tensor, flip: bool) -> Tensor:
    """`t h w c`, flipped left to right or not, as a view `c t h w`; what takes it to float lays it out anew."""
    return rearrange(frames.flip(2) if flip else frames, "t h w c -> c t h w")


class Item(NamedTuple):
    """A clip: of a video in an epoch, or of the partner that this epoch gives it, another video of its scene."""

    epoch: int
    video: int
    partner: bool = False


class UnreadableFile(UserError):
    """A bad file where none may be."""


class ClipDataset(Dataset):
    """One clip for each (epoch, video): frame k is the video's frame nearest to `start + k · video_fps / fps`.

    In training, start and horizontal flip are random by (seed, epoch, video); otherwise the window in the middle
    is taken, unflipped. A video slower than `fps` repeats frames; one too short for a clip repeats its last.
    A partner is another video of the scene (`data.folder.scene_of`), or another window where there is none, and is
    flipped as the video is.

    An item is a dict: `video` uint8 `c t h w`, `label`, `video_index`, `name`, `first_frame`, and `skipped`, the names
    of files that turned out bad and gave way to the next good one (empty when none did); with `on_bad_file="error"`
    such a file raises `UnreadableFile` instead.
    """

    def __init__(
        self,
        index: VideoIndex,
        frames: int,
        fps: float,
        size: tuple[int, int],
        seed: int,
        train: bool,
        in_memory: bool,
        on_bad_file: OnBadFile = "skip",
        backend: Backend | None = None,
        threads: int = 1,
    ) -> None:
        self.index, self.frames, self.fps, self.size = index, frames, fps, size
        self.seed, self.train, self.in_memory = seed, train, in_memory
        self.on_bad_file, self.backend, self.threads = on_bad_file, backend, threads
        self.stored = self._decode_into_memory() if in_memory else None

    def __len__(self) -> int:
        return len(self.index.videos)

    @property
    def clip_bytes(self) -> int:
        return 3 * self.frames * self.size[0] * self.size[1]

    def __getitem__(self, item: tuple[int, int] | Item) -> dict[str, Tensor | int | str]:
        epoch, first_choice, partner = Item(*item)
        skipped = []
        for offset in range(len(self)):
            lead = (first_choice + offset) % len(self)
            i, window = self.partner(epoch, lead) if partner else (lead, self.window(epoch, lead))
            try:
                return {**self._clip(i, window), "skipped": SEPARATOR.join(skipped)}
            except BadVideo as error:
                if self.on_bad_file == "error":
                    raise UnreadableFile(f"{error}; it could be read when it was indexed") from error
                skipped.append(self.index.names[i])
        raise UserError("no video of the data set can be read any more; is its disk still there?")

    def window(self, epoch: int, i: int) -> Window:
        """`choose_window` for the clip of video i in an epoch."""
        numbers = generator("clip", self.seed, epoch, i) if self.train else None
        return choose_window(self.index.videos[i], self.frames, self.fps, numbers)

    def partner(self, epoch: int, i: int) -> tuple[int, Window]:
        """The video that is video i's partner in an epoch, and its window."""
        numbers = generator("partner", self.seed, epoch, i)
        others = self.index.others_of_scene(i) or [i]
        chosen = others[torch.randint(len(others), (), generator=numbers)]
        indices, start, _ = choose_window(self.index.videos[chosen], self.frames, self.fps, numbers)
        return chosen, (indices, start, self.window(epoch, i)[2])

    def _clip(self, i: int, window: Window) -> dict[str, Tensor | int]:
        indices, start, flip = window
        return {
            "video": as_clip(self._frames(i, indices), flip),
            "label": self.index.labels[i],
            "video_index": i,
            "name": self.index.names[i],
            "first_frame": round(start),
        }

    def _frames(self, i: int, indices: Tensor) -> Tensor:
        if self.stored is None:
            with self.index.file(i) as info:
                return read_frames(info, indices.tolist(), self.size, self.backend, self.threads)
        if isinstance(self.stored[i], BadVideo):
            raise self.stored[i]
        if indices[-1] >= len(self.stored[i]):
            raise BadVideo(self.index.videos[i].path, f"has no frame {indices[-1]}")
        return self.stored[i][indices]

    def _decode_into_memory(self) -> list[Tensor | BadVideo]:
        first = {video: i for i, video in reversed(list(enumerate(self.index.videos)))}  # one may occur several times
        needed = sum(video.frames for video in first) * 3 * self.size[0] * self.size[1]
        available = MEMORY_SHARE * psutil.virtual_memory().available
        if needed > available:
            raise UserError(
                f"the decoded videos need {needed / 1e9:.1f} GB of memory, {available / 1e9:.1f} GB are to be had; "
                "use --data.in_memory false"
            )
        with ThreadPoolExecutor() as pool:
            decoded = track(pool.map(self._decode_or_explain, first.values()), len(first), "decoding", "videos")
            found = dict(zip(first, decoded, strict=True))
        return [found[video] for video in self.index.videos]

    def _decode_or_explain(self, i: int) -> Tensor | BadVideo:
        try:
            with self.index.file(i) as info:
                return decode_all(info, self.size)
        except BadVideo as error:
            return error
