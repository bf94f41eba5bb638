"""Many files as one stretch of memory: a row of any of them is one address, so that a batch is one gather."""

import ctypes
import mmap
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from runtime.errors import UserError

MAP_FIXED = 0x10  # on Linux and macOS alike; the module mmap has no name for it

_map = ctypes.CDLL(None, use_errno=True).mmap
_map.restype = ctypes.c_void_p
_map.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)


class MappedFiles:
    """`count` files of `size` bytes, the last of `last_size`, side by side in `bytes` at multiples of `stride`.

    Addresses are reserved for all of them, which takes no memory; a file is mapped, read-only, when `require` first
    names it, so opening costs the same for any number. `bytes` must not be read where no file was required, nor
    written at all.
    """

    def __init__(self, path_of: Callable[[int], Path], count: int, size: int, last_size: int) -> None:
        self.path_of, self.sizes = path_of, (size, last_size)
        self.stride = -(-max(self.sizes) // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY
        self.mapped, self.missing = np.zeros(count, dtype=bool), count
        reserved = mmap.mmap(-1, count * self.stride, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=0)
        self.address = np.frombuffer(reserved, dtype=np.uint8).ctypes.data
        stretch = (ctypes.c_uint8 * len(reserved)).from_address(self.address)
        stretch.reserved = reserved  # unmapped with the last tensor that looks at it
        self.bytes: Tensor = torch.frombuffer(stretch, dtype=torch.uint8)

    def require(self, files: np.ndarray) -> None:
        """Map those that are not yet. Raises `UserError` for one that is missing or of another size."""
        if self.missing and not self.mapped[files].all():
            for file in np.unique(files[~self.mapped[files]]).tolist():
                self._map(file)
                self.mapped[file] = True
                self.missing -= 1

    def _map(self, file: int) -> None:
        path, size = self.path_of(file), self.sizes[file == len(self.mapped) - 1]
        place = self.address + file * self.stride
        with open_whole(path, size) as opened:
            found = _map(place, size, mmap.PROT_READ, mmap.MAP_SHARED | MAP_FIXED, opened.fileno(), 0)
        if found != place:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))


def open_whole(path: Path, size: int) -> BinaryIO:
    """The file, open; reading behind the end of a mapped one would kill the process."""
    try:
        opened = path.open("rb")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); run the caching again") from error
    if os.fstat(opened.fileno()).st_size != size:
        opened.close()
        raise UserError(f"{path} is cut short; run the caching again")
    return opened
