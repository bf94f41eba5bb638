"""The clips' rows of one tensor, found and gathered in the mapped shards of a cache."""

from math import prod

import numpy as np
import torch
from torch import Tensor

from data.latents.mapped import MappedFiles
from data.latents.shard import Field


class Rows:
    """One tensor of all shards: the clips, `values` values each, in the mapped files."""

    def __init__(self, files: MappedFiles, field: Field, last: Field, shard_size: int) -> None:
        self.dtype, self.shape, self.values = field.dtype, field.shape, field.values
        size = field.dtype.itemsize
        self.flat = files.bytes.view(field.dtype)[field.start // size :]
        self.step = files.stride // size - shard_size * field.values
        self.shift = (last.start - field.start) // size  # the last shard, if shorter, is laid out closer
        # Overlapping rows, row k beginning at value k: any clip is some row, and one gather takes a batch.
        self.every = self.flat.as_strided((len(self.flat) - self.values + 1, self.values), (1, 1))

    def starts(self, clips: np.ndarray, shards: np.ndarray, in_last: np.ndarray | None) -> np.ndarray:
        """Where in `flat` these clips begin."""
        starts = shards * self.step + clips * self.values
        return starts if in_last is None else starts + in_last * self.shift

    def gather(self, starts: np.ndarray, out: Tensor) -> None:
        if self.values:
            torch.index_select(self.every, 0, torch.from_numpy(starts), out=out.view(len(starts), self.values))

    def view(self, start: int, *leading: int) -> Tensor:
        shape = (*leading, *self.shape)
        return self.flat[start : start + prod(shape)].view(shape)
