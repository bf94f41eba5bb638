"""Arrays of videos: `videos`, uint8 `n t h w c`, in .safetensors, .npz, .npy or .pt files."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from zipfile import BadZipFile, ZipFile

import numpy as np
import torch
from numpy.lib import format as npy
from safetensors import SafetensorError, safe_open
from torch import Tensor

from eval.videos.window import Window
from runtime.errors import UserError

KEY = "videos"
SUFFIXES = (".safetensors", ".npz", ".npy", ".pt")
LOOKED_AT = 8  # videos whose values are looked at before any is measured
DAMAGE = (SafetensorError, BadZipFile, UnpicklingError, KeyError, ValueError, RuntimeError, EOFError, OSError)


@dataclass(frozen=True)
class ArrayClip:
    """A row of an array, cut to its window."""

    name: str
    values: Tensor

    def key(self) -> str:
        return hashlib.sha256(str(tuple(self.values.shape)).encode() + self.values.numpy().tobytes()).hexdigest()

    def frames(self) -> Tensor:
        return self.values


@dataclass
class ArraySource:
    """The videos of an array file, of which one at a time is in memory (all, where an .npz is not compressed).

    Raises:
        UserError: no array, other values or another shape, or videos shorter than the window.
    """

    path: Path
    window: Window
    resizes = False
    rates = None
    reference = ""
    left_out: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape, dtype = described(self.path)
        if len(shape) != 5 or shape[-1] != 3:
            raise UserError(f"{self.path}: {KEY} must be uint8 of shape n t h w 3, not {dtype} {shape}")
        if not shape[0]:
            raise UserError(f"{self.path}: {KEY} is empty")
        check_values(self.path, shape[0], dtype)
        if shape[1] < self.window.span:
            raise UserError(
                f"{self.path}: videos have {shape[1]} frames, a clip takes {self.window.span}; "
                "change --frames or --frame_stride"
            )
        self.total, self.size = shape[0], (shape[2], shape[3])

    def clips(self, indices: Sequence[int], size: tuple[int, int]) -> Iterator[ArrayClip]:
        if size != self.size:
            raise UserError(
                f"{self.path}: videos of {self.size[0]}x{self.size[1]}, the others have {size[0]}x{size[1]}; "
                "give both at one size, since a resize changes the distance"
            )
        for i, video in zip(indices, rows(self.path, indices), strict=True):
            yield ArrayClip(f"{self.path.name}[{i}]", video[: self.window.span : self.window.stride].contiguous())


def check_values(path: Path, total: int, dtype: str) -> None:
    """Raise `UserError` for values that are not 0..255, with their range and how to convert them."""
    first = torch.stack(list(rows(path, range(min(total, LOOKED_AT)))))
    low, high = (float(each) for each in (first.min(), first.max()))
    if dtype == "uint8" and high != 1:
        return
    if dtype == "uint8":
        raise UserError(f"{path}: {KEY} are all 0 or 1; multiply by 255 and round before you cast to uint8")
    convert = "(x * 255).round()" if low >= 0 else "((x + 1) * 127.5).round()"
    cast = f"; convert {convert} to uint8" if high <= 1 else ""
    raise UserError(f"{path}: {KEY} must be uint8 in [0, 255], not {dtype} in [{low:.3g}, {high:.3g}]{cast}")


def described(path: Path) -> tuple[tuple[int, ...], str]:
    """Shape and type of the array, by the header alone. Raises `UserError` for a file without one."""
    try:
        match path.suffix:
            case ".safetensors":
                with safe_open(path, "pt") as file:
                    part = file.get_slice(KEY)
                    return tuple(part.get_shape()), str(part[:0].dtype).removeprefix("torch.")
            case ".npz":
                with ZipFile(path) as archive, archive.open(f"{KEY}.npy") as file:
                    shape, dtype = npy_header(file)
                    return shape, str(dtype)
            case ".npy":
                array = np.load(path, mmap_mode="r")
                return array.shape, str(array.dtype)
            case ".pt":
                tensor = saved_tensor(path)
                return tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")
    except DAMAGE as error:
        reason = (str(error) or "it is damaged").splitlines()[0]
        raise UserError(f"{path}: no array {KEY!r} can be read from it ({reason})") from error
    raise UserError(f"{path}: arrays are read from {', '.join(SUFFIXES)} files")


def rows(path: Path, indices: Sequence[int]) -> Iterator[Tensor]:
    """The videos `t h w c` of ascending indices, one after the other."""
    match path.suffix:
        case ".safetensors":
            with safe_open(path, "pt") as file:
                part = file.get_slice(KEY)
                yield from (part[i] for i in indices)
        case ".npz":
            yield from compressed_rows(path, indices)
        case ".npy":
            array = np.load(path, mmap_mode="r")
            yield from (torch.from_numpy(np.array(array[i])) for i in indices)
        case ".pt":
            tensor = saved_tensor(path)
            yield from (tensor[i].clone() for i in indices)


def compressed_rows(path: Path, indices: Sequence[int]) -> Iterator[Tensor]:
    """Of a file that can only be read from its beginning."""
    wanted = iter(indices)
    following = next(wanted, None)
    with ZipFile(path) as archive, archive.open(f"{KEY}.npy") as file:
        (total, *shape), dtype = npy_header(file)
        for i in range(total):
            if following is None:
                return
            content = file.read(int(np.prod(shape)) * dtype.itemsize)
            if i == following:
                yield torch.from_numpy(np.frombuffer(content, dtype).reshape(shape).copy())
                following = next(wanted, None)


def npy_header(file: object) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type at the head of a .npy stream, which then stands at the first value."""
    version = npy.read_magic(file)
    shape, fortran, dtype = (npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0)(file)
    if fortran:
        raise ValueError("Fortran order; save a C-contiguous array")
    return shape, dtype


def saved_tensor(path: Path) -> Tensor:
    """The tensor of a .pt file, alone in it or under the key; nothing else of the file is run."""
    content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    tensor = content[KEY] if isinstance(content, dict) else content
    if not isinstance(tensor, Tensor):
        raise ValueError(f"{type(tensor).__name__}, not a tensor")
    return tensor
