"""The most memory that this process has held, and the most that a computation would hold that is never carried out."""

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def peak_memory(device: torch.device) -> int:
    """Bytes: of the allocator on a GPU, resident on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return process_memory("VmHWM")  # `ru_maxrss` begins with what the process that started this one had held


def process_memory(field: str) -> int:
    """Bytes of a field of `/proc/self/status` (Linux), such as `VmHWM`, the most that was ever resident."""
    status = Path("/proc/self/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{field}:"))


class PeakMemory(TorchDispatchMode):
    """The bytes of all tensors made while it is on and not yet freed: now, and at most. Those on `meta` have none."""

    def __init__(self) -> None:
        super().__init__()
        self.current = self.peak = 0
        self.alive: set[int] = set()

    def __torch_dispatch__(
        self, func: Callable, types: Sequence[type], args: Sequence = (), kwargs: Mapping | None = None
    ) -> object:
        outputs = func(*args, **(kwargs or {}))
        for output in tree_leaves(outputs):
            if isinstance(output, Tensor) and output.device.type != "meta":
                self.add(output.untyped_storage())
        return outputs

    def add(self, storage: torch.UntypedStorage) -> None:
        """Count a storage once, however many views of it there are, until it is freed."""
        place, size = storage._cdata, storage.nbytes()
        if place not in self.alive:
            self.alive.add(place)
            self.current += size
            self.peak = max(self.peak, self.current)
            weakref.finalize(storage, self.release, place, size)

    def release(self, place: int, size: int) -> None:
        self.alive.discard(place)
        self.current -= size


@contextmanager
def traced() -> Iterator[PeakMemory]:
    """Tensors made inside have no content, and nothing is computed: only the bytes that they would take are counted."""
    # Only with a default device do modules that are built in the fake mode put all their tensors there.
    with FakeTensorMode(), torch.device("cpu"), PeakMemory() as memory:
        yield memory
