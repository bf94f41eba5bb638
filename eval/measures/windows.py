"""Which clips of a data set are evaluated: all windows of each video, the first, or the one in the middle."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from data.clips import as_clip, choose_window
from data.config import Split
from data.index import VideoIndex, open_index
from data.loader import PREFETCH, loader_options
from data.video.frames import BadVideo, VideoInfo, read_frames

Which = Literal["all", "first", "middle"]
WHICH: tuple[Which, ...] = ("all", "first", "middle")
Part = Split | Literal["all"]
Batch = dict[str, Tensor | list[str] | None]


def whole_windows(info: VideoInfo, frames: int, fps: float) -> int:
    """How many windows of that many frames follow one another in a video."""
    return int((info.frames - 1) * fps / info.fps + 1) // frames


def window_frames(info: VideoInfo, frames: int, fps: float, which: Which) -> list[Tensor]:
    """The frames of each window, `t`: those nearest to its times.

    A remainder shorter than a window is left over; a video shorter than a window gives one, its last frame repeated.
    """
    if which == "middle":
        return [choose_window(info, frames, fps, None)[0]]
    count = max(whole_windows(info, frames, fps), 1) if which == "all" else 1
    times = torch.arange(count * frames) * info.fps / fps
    return list(times.round().long().clamp(max=info.frames - 1).split(frames))


def open_part(root: str | Path, part: Part, fold: int, cache: Path | None) -> list[VideoIndex]:
    """A split of a data set, or both. A single video, which serves both, counts once."""
    splits = ("train", "test") if part == "all" else (part,)
    indices = [open_index(root, split, fold, cache) for split in splits]
    return indices[:1] if len({index.names for index in indices}) == 1 else indices


class WindowDataset(Dataset):
    """The clips of some videos, uint8 `c t h w`, one after the other in the order of `indices`.

    An item is a dict: `video`, `label`, and `place`, its own number. Of a file that cannot be read it holds nothing but
    `skipped`, the file's name: another clip in its place would count twice.

    Args:
        max_videos: so many videos at most, spread evenly.
    """

    in_memory = False

    def __init__(
        self,
        indices: Sequence[VideoIndex],
        frames: int,
        fps: float,
        size: tuple[int, int],
        which: Which = "middle",
        max_videos: int | None = None,
    ) -> None:
        self.frames, self.fps, self.size = frames, fps, size
        videos = [(index, i) for index in indices for i in range(len(index.videos))]
        count = min(max_videos or len(videos), len(videos))
        self.videos = [videos[place * len(videos) // count] for place in range(count)]
        self.windows = [
            (video, window)
            for video, (index, i) in enumerate(self.videos)
            for window in window_frames(index.videos[i], frames, fps, which)
        ]

    def __len__(self) -> int:
        return len(self.windows)

    @property
    def clip_bytes(self) -> int:
        return 3 * self.frames * self.size[0] * self.size[1]

    def video_of(self, place: int) -> int:
        """Which of the videos clip `place` is taken from."""
        return self.windows[place][0]

    def name(self, place: int) -> str:
        index, i = self.videos[self.video_of(place)]
        return index.names[i]

    def first_frame(self, place: int) -> int:
        return int(self.windows[place][1][0])

    def __getitem__(self, place: int) -> dict[str, Tensor | int | str]:
        index, i = self.videos[self.video_of(place)]
        try:
            with index.file(i) as info:
                frames = read_frames(info, self.windows[place][1].tolist(), self.size)
        except BadVideo:
            return {"skipped": self.name(place)}
        return {"video": as_clip(frames, flip=False), "label": index.labels[i], "place": place}


def window_loader(dataset: WindowDataset, batch_size: int, workers: int, rank: int, world: int) -> DataLoader:
    """Each clip once, in order; rank r takes every `world`-th batch."""
    batches = [list(range(len(dataset)))[start : start + batch_size] for start in range(0, len(dataset), batch_size)]
    options = loader_options(workers, PREFETCH, batch_size * dataset.clip_bytes)
    options["collate_fn"] = partial(collate_readable, collate=options["collate_fn"])
    return DataLoader(dataset, batch_sampler=batches[rank::world], **options)


def collate_readable(items: list[dict], collate: Callable[[list[dict]], Batch]) -> Batch:
    """A batch of the items that hold a clip, its `video` None where none does; `skipped` names the others' files."""
    readable = [item for item in items if "video" in item]
    skipped = [item["skipped"] for item in items if "skipped" in item]
    return {**(collate(readable) if readable else {"video": None}), "skipped": skipped}
