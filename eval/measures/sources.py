"""Where FVD's videos come from: array files, folders of videos, UCF-101. All give uint8 clips `t h w c`."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from zipfile import BadZipFile, ZipFile

import numpy as np
import torch
from numpy.lib import format as npy
from safetensors import SafetensorError, safe_open
from torch import Tensor

from data import ucf101
from data.config import Split
from data.folder import find_videos
from data.index import open_index
from data.survey import survey
from data.video.frames import BadVideo, VideoInfo, read_frames
from generator.samples import SAMPLES
from runtime.errors import UserError
from runtime.random import generator

KEY = "videos"


@dataclass(frozen=True)
class Window:
    """Which frames make a clip.

    Attributes:
        frames: how many.
        stride: every so many-th frame of what is there.
        fps: frames of video files nearest to this rate, in place of a stride; arrays have no rate of their own.
        seed: of the random start in each video file. A clip of an array begins at its first frame.
    """

    frames: int = 16
    stride: int = 1
    fps: float | None = None
    seed: int = 0

    @property
    def span(self) -> int:
        """Frames from the first to the last, inclusive, at the stride."""
        return (self.frames - 1) * self.stride + 1

    def offsets(self, info: VideoInfo) -> Tensor:
        """Frames of a file after the window's first, `t`."""
        step = self.stride if self.fps is None else info.fps / self.fps
        return (torch.arange(self.frames) * step).round().long()


class Source(Protocol):
    """Videos to draw from.

    Attributes:
        total: how many there are.
        size: their height and width, None where each has its own.
        fps: the rate of their clips, None where it is not known.
        left_out: names of files that cannot be read or are too short; grows while `clips` runs.
    """

    total: int
    size: tuple[int, int] | None
    fps: float | None
    left_out: list[str]

    def clips(self, count: int, size: tuple[int, int]) -> Iterator[Tensor]:
        """A random choice of `count` different videos, a clip of each; fewer where there are fewer to be read."""
        ...


@dataclass
class ArraySource:
    """`videos`, uint8 `n t h w c`, in a .safetensors or .npz file, read one after the other.

    Raises:
        UserError: another content, or videos shorter than the window.
    """

    path: Path
    window: Window
    fps: None = None
    left_out: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        shape, dtype = describe_array(self.path)
        if dtype != "uint8" or len(shape) != 5 or shape[-1] != 3:
            raise UserError(f"{self.path}: {KEY} must be uint8 of shape n t h w 3, not {dtype} {shape}")
        if shape[1] < self.window.span:
            raise UserError(
                f"{self.path}: videos have {shape[1]} frames, a clip takes {self.window.span}; "
                "change --frames or --frame_stride"
            )
        self.total, self.size = shape[0], (shape[2], shape[3])

    def clips(self, count: int, size: tuple[int, int]) -> Iterator[Tensor]:
        if size != self.size:
            raise UserError(
                f"{self.path}: videos of {self.size[0]}x{self.size[1]}, the others have {size[0]}x{size[1]}; "
                "give both at one size, since a resize changes the distance"
            )
        chosen = set(shuffled(self.total, self.window.seed)[:count])
        for i, video in enumerate(read_array(self.path)):
            if i in chosen:
                yield video[: self.window.span : self.window.stride]


@dataclass
class FileSource:
    """Video files; of each a window that begins at random, by (seed, place in the list).

    Files too short for a window are left out: repeating their frames would make videos that nobody filmed.
    """

    videos: list[VideoInfo]
    window: Window
    left_out: list[str]

    def __post_init__(self) -> None:
        long_enough = [info for info in self.videos if info.frames > int(self.window.offsets(info)[-1])]
        short = set(self.videos) - set(long_enough)
        self.left_out += sorted(str(info.path) for info in short)
        if not long_enough:
            raise UserError(
                f"no video is long enough for a clip of {self.window.frames} frames, nor readable otherwise"
            )
        self.videos, self.total = long_enough, len(long_enough)

    @property
    def size(self) -> tuple[int, int] | None:
        sizes = {(info.height, info.width) for info in self.videos}
        return sizes.pop() if len(sizes) == 1 else None

    @property
    def fps(self) -> float | None:
        rates = {self.window.fps or info.fps / self.window.stride for info in self.videos}
        return rates.pop() if len(rates) == 1 else None

    def clips(self, count: int, size: tuple[int, int]) -> Iterator[Tensor]:
        missing = count
        for i in shuffled(self.total, self.window.seed):
            if not missing:
                return
            try:
                yield read_frames(self.videos[i], self.frames_of(i), size)
                missing -= 1
            except BadVideo:
                self.left_out.append(str(self.videos[i].path))

    def frames_of(self, i: int) -> list[int]:
        offsets = self.window.offsets(self.videos[i])
        room = self.videos[i].frames - int(offsets[-1])
        start = torch.randint(room, (), generator=generator("fvd window", self.window.seed, i))
        return (start + offsets).tolist()


def open_source(
    path: Path, window: Window, split: Split, fold: int, cache: Path | None = None
) -> ArraySource | FileSource:
    """An array file, a folder with `samples.safetensors`, a UCF-101 root (its `split`), or any folder of videos.

    `cache` keeps what was found in UCF-101's files (see `data.survey`).

    Raises:
        UserError: nothing of the kind.
    """
    if path.is_file():
        return ArraySource(path, window)
    if not path.is_dir():
        raise UserError(f"there is no file or folder {path}")
    if (path / SAMPLES).is_file():
        return ArraySource(path / SAMPLES, window)
    if is_ucf101(path):
        index = open_index(path, split, fold, cache)
        return FileSource(list(index.videos), window, [name for name, _ in index.bad])
    return open_folder(path, window)


def is_ucf101(path: Path) -> bool:
    return (path / ucf101.VIDEOS).is_dir() and (path / ucf101.LISTS).is_dir()


def open_folder(path: Path, window: Window) -> FileSource:
    """Every video file below a folder."""
    found = survey(path, find_videos(path))
    videos = [each for each in found if isinstance(each, VideoInfo)]
    bad = [str(each.path) for each in found if isinstance(each, BadVideo)]
    if not videos:
        raise UserError(f"{path} holds no videos that can be read, and no {SAMPLES}")
    return FileSource(videos, window, bad)


def describe_array(path: Path) -> tuple[tuple[int, ...], str]:
    """Shape and type of the array, by the header alone. Raises `UserError` for a file without one."""
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                part = file.get_slice(KEY)
                return tuple(part.get_shape()), {"U8": "uint8"}.get(part.get_dtype(), part.get_dtype())
        if path.suffix == ".npz":
            with ZipFile(path) as archive, archive.open(f"{KEY}.npy") as file:
                shape, _, dtype = npy_header(file)
                return shape, str(dtype)
    except (SafetensorError, BadZipFile, KeyError, ValueError) as error:
        raise UserError(f"{path}: no array {KEY!r} can be read from it ({str(error).splitlines()[0]})") from error
    raise UserError(f"{path}: arrays are read from .safetensors and .npz files")


def read_array(path: Path) -> Iterator[Tensor]:
    """The videos `t h w c` in order, one in memory at a time."""
    if path.suffix == ".safetensors":
        with safe_open(path, "pt") as file:
            part = file.get_slice(KEY)
            for i in range(part.get_shape()[0]):
                yield part[i]
        return
    with ZipFile(path) as archive, archive.open(f"{KEY}.npy") as file:
        (total, *shape), _, dtype = npy_header(file)
        for _ in range(total):
            values = np.frombuffer(file.read(int(np.prod(shape))), dtype)
            yield torch.from_numpy(values.reshape(shape).copy())


def npy_header(file: object) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, order and type at the head of a .npy stream, which then stands at the first value."""
    version = npy.read_magic(file)
    shape, fortran, dtype = (npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0)(file)
    if fortran:
        raise ValueError("Fortran order; save a C-contiguous array")
    return shape, fortran, dtype


def shuffled(total: int, seed: int) -> list[int]:
    return torch.randperm(total, generator=generator("fvd choice", seed)).tolist()
