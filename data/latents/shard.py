"""One file of a latent cache: how it is laid out, written and checked."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from data.latents.plan import checksum_path, shard_path
from runtime.errors import UserError
from runtime.files import sha256, write_whole

STORED = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64}


@dataclass(frozen=True)
class Field:
    """A tensor of a shard, `n ...`.

    Attributes:
        shape: of one clip.
        start: byte of the file where the first clip begins.
    """

    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int

    @property
    def values(self) -> int:
        """In one clip."""
        return prod(self.shape)


@dataclass(frozen=True)
class Layout:
    """Where a shard of a number of clips keeps what; all shards of as many clips are laid out alike."""

    size: int
    fields: dict[str, Field]

    @classmethod
    def read(cls, path: Path) -> "Layout":
        """From a safetensors file's header. Raises `UserError` if there is none."""
        try:
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                header = json.loads(file.read(length))
            entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
            start = 8 + length
            return cls(
                start + max(entry["data_offsets"][1] for entry in entries.values()),
                {
                    name: Field(STORED[entry["dtype"]], tuple(entry["shape"][1:]), start + entry["data_offsets"][0])
                    for name, entry in entries.items()
                },
            )
        except (OSError, ValueError, KeyError, TypeError, MemoryError, OverflowError) as error:
            raise UserError(f"{path} is missing or damaged; run the caching again: it is then rewritten") from error


def write_shard(folder: Path, shard: int, tensors: dict[str, Tensor]) -> None:
    """A whole shard, its checksum first: a file that stands in its place without damage is the one that was meant.

    The checksum is taken before the bytes go to the disk. Raises `UserError` when that is full.
    """
    path = shard_path(folder, shard)
    content = save({name: each.contiguous() for name, each in tensors.items()})
    with one_line_when_full(folder):
        line = f"{hashlib.sha256(content).hexdigest()}  {path.name}\n"
        write_whole(checksum_path(folder, shard), line.encode())
        write_whole(path, content)


def is_whole(folder: Path, shard: int) -> bool:
    """Whether a shard is there and as it was written."""
    path, checksum = shard_path(folder, shard), checksum_path(folder, shard)
    return path.is_file() and checksum.is_file() and checksum_line(folder, shard) == f"{sha256(path)}  {path.name}"


def checksum_line(folder: Path, shard: int) -> str:
    return checksum_path(folder, shard).read_text(errors="replace").strip()


@contextmanager
def one_line_when_full(folder: Path) -> Iterator[None]:
    """A disk that takes no more ends the run with a line."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"no latents could be written to {folder} ({error.strerror}); make room and give the same command again: "
            "the shards that are whole stay"
        ) from error
