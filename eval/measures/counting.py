"""FLOPs and memory of a computation that is never carried out: counted on meta tensors, traced on fake ones."""

import weakref
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from runtime.flops import count_flops

Build = Callable[[], nn.Module]
Loss = Callable[[nn.Module], Tensor]


def training_cost(build: Build, loss: Loss) -> dict[str, int | bool]:
    """Parameters of a model, FLOPs and peak bytes of a training step: fields of `eval.cost.Cost`.

    `build` makes the model, `loss` its inputs and the loss, both on torch's default device. Memory is measured where
    there is a GPU and traced elsewhere.
    """
    with torch.device("meta"):
        model = build().train()
        flops = count_flops(lambda: loss(model).backward())
    measured = torch.cuda.is_available()
    memory = measured_memory(build, loss) if measured else traced_memory(build, loss)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return {"parameters": parameters, "training_flops": flops, "training_memory": memory, "measured": measured}


class PeakMemory(TorchDispatchMode):
    """The bytes of all tensors made while it is on and not yet freed: now, and at most."""

    def __init__(self) -> None:
        super().__init__()
        self.current = self.peak = 0
        self.alive: set[int] = set()

    def __torch_dispatch__(
        self, func: Callable, types: Sequence[type], args: Sequence = (), kwargs: Mapping | None = None
    ) -> object:
        outputs = func(*args, **(kwargs or {}))
        for output in tree_leaves(outputs):
            if isinstance(output, Tensor):
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


def traced_memory(build: Build, loss: Loss) -> int:
    """Peak bytes of two steps with Adam: in the second, its moments are there from the start."""
    # Only with a default device do modules that are built in the fake mode put all their tensors there.
    with FakeTensorMode(), torch.device("cpu"), PeakMemory() as memory:
        train_two_steps(build, loss)
    return memory.peak


def measured_memory(build: Build, loss: Loss) -> int:
    """The same, read off the GPU's allocator."""
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    with torch.device("cuda"):
        train_two_steps(build, loss)
    return torch.cuda.max_memory_allocated() - before


def train_two_steps(build: Build, loss: Loss) -> None:
    model = build().train()
    optimizer = torch.optim.Adam(model.parameters(), foreach=False)
    for _ in range(2):
        loss(model).backward()
        optimizer.step()
        optimizer.zero_grad()
