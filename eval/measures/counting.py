"""FLOPs and memory of a computation that is never carried out: counted on meta tensors, traced on fake ones."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from runtime.flops import count_flops
from runtime.memory import traced

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


def traced_memory(build: Build, loss: Loss) -> int:
    """Peak bytes of a step with Adam."""
    with traced() as memory:
        train_one_step(build, loss)
    return memory.peak


def measured_memory(build: Build, loss: Loss) -> int:
    """The same, read off the GPU's allocator."""
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    with torch.device("cuda"):
        train_one_step(build, loss)
    return torch.cuda.max_memory_allocated() - before


def train_one_step(build: Build, loss: Loss) -> None:
    """As any step but the first: Adam's moments are there from the start, made by a step on gradients of zero."""
    model = build().train()
    optimizer = torch.optim.Adam(model.parameters(), foreach=False)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad()
    loss(model).backward()
    optimizer.step()
