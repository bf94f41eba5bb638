"""Batches of cached latents on a device: from a copy of the whole set that lies there, or streamed from the files.

Which of the two changes the speed alone, not a bit of the batches.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import psutil
import torch
from torch import Tensor

from data.latents.cache import LatentCache
from runtime import distributed

SHARE = 0.5  # of the memory that is free: the rest is the training's

Batch = tuple[list[int], dict[str, Tensor]]


class ResidentLatents:
    """The whole set on the device, moved once."""

    def __init__(self, cache: LatentCache, names: Sequence[str], device: torch.device) -> None:
        self.tensors, self.device = cache.load(names, device), device

    def batches(self, clips: Iterable[list[int]]) -> Iterator[Batch]:
        """Each list of clips with its tensors, on the device."""
        for chosen in clips:
            places = torch.tensor(chosen, device=self.device)
            yield chosen, {name: each[places] for name, each in self.tensors.items()}


class StreamedLatents:
    """Read from the files one batch ahead, and copied to the device while it computes."""

    def __init__(self, cache: LatentCache, names: Sequence[str], device: torch.device) -> None:
        self.cache, self.names, self.device = cache, names, device

    def batches(self, clips: Iterable[list[int]]) -> Iterator[Batch]:
        """As `ResidentLatents.batches`."""
        with ThreadPoolExecutor(1) as reader:
            waiting = None
            for chosen in clips:
                ahead = chosen, reader.submit(self._read, chosen)
                if waiting:
                    yield self._moved(*waiting)
                waiting = ahead
            if waiting:
                yield self._moved(*waiting)

    def _read(self, chosen: list[int]) -> dict[str, Tensor]:
        return self.cache.read(chosen, self.names, pin=self.device.type == "cuda")

    def _moved(self, chosen: list[int], read: Future[dict[str, Tensor]]) -> Batch:
        # PyTorch keeps pinned memory from being used again until the copy is done.
        return chosen, {name: each.to(self.device, non_blocking=True) for name, each in read.result().items()}


def latent_source(
    cache: LatentCache, names: Sequence[str], device: torch.device
) -> tuple[ResidentLatents | StreamedLatents, str]:
    """The named tensors of a cache on a device, kept there if they fit into `SHARE` of its free memory; and a line
    that says so.
    """
    needed, free = cache.bytes_of(names), free_memory(device)
    fits = needed <= SHARE * free
    how = f"kept on {device}" if fits else f"streamed from {cache.folder}"
    said = f"{len(cache)} clips, {needed / 1e9:.2f} GB of latents, are {how}: {device} has {free / 1e9:.2f} GB free"
    return (ResidentLatents if fits else StreamedLatents)(cache, names, device), said


def free_memory(device: torch.device) -> int:
    """Bytes: of a GPU's, or this process's share of the host's."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available // distributed.local_processes()
