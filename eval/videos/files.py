"""Video files as clips: of a folder, of UCF-101, of packed shards."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from data.index import VideoIndex
from data.video.frames import BadVideo, read_frames
from eval.videos.window import Window
from runtime.errors import UserError
from runtime.files import sha256


@dataclass(frozen=True)
class FileClip:
    """Frames of a file of an index, cut to a size."""

    index: VideoIndex
    place: int
    chosen: tuple[int, ...]
    size: tuple[int, int]

    @property
    def name(self) -> str:
        return self.index.names[self.place]

    def key(self) -> str:
        with self.index.file(self.place) as info:
            try:
                content = sha256(info.path)
            except OSError as error:
                raise BadVideo(info.path, f"cannot be read ({error.strerror})") from error
        return hashlib.sha256(json.dumps([content, self.chosen, self.size]).encode()).hexdigest()

    def frames(self) -> Tensor:
        with self.index.file(self.place) as info:
            return read_frames(info, self.chosen, self.size)


class FileSource:
    """Video files; of each a window that begins at random, by (seed, name).

    Files too short for a window are left out: repeating their frames would make videos that nobody filmed.

    Raises:
        UserError: no file is long enough.
    """

    resizes = True

    def __init__(self, index: VideoIndex, window: Window, reference: str = "") -> None:
        self.index, self.window, self.reference = index, window, reference
        self.left_out = dict(index.bad)
        lasts = [int(window.offsets(info)[-1]) for info in index.videos]
        self.places = [i for i, info in enumerate(index.videos) if info.frames > lasts[i]]
        short = set(range(len(index.videos))) - set(self.places)
        self.left_out |= {index.names[i]: f"has {index.videos[i].frames} frames" for i in sorted(short)}
        if not self.places:
            raise UserError(f"no video is long enough for a clip of {window.frames} frames, nor readable otherwise")

    @property
    def total(self) -> int:
        return len(self.places)

    @property
    def size(self) -> tuple[int, int] | None:
        sizes = {(info.height, info.width) for info in self.videos}
        return sizes.pop() if len(sizes) == 1 else None

    @property
    def rates(self) -> tuple[float, float]:
        found = [self.window.fps or info.fps / self.window.stride for info in self.videos]
        return min(found), max(found)

    @property
    def videos(self) -> list:
        return [self.index.videos[i] for i in self.places]

    def clips(self, indices: Sequence[int], size: tuple[int, int]) -> Iterator[FileClip]:
        for i in indices:
            place = self.places[i]
            chosen = self.window.frames_of(self.index.names[place], self.index.videos[place])
            yield FileClip(self.index, place, tuple(chosen), size)
