"""What a training step takes of a device's memory: a model's states, and a micro-batch traced on fake tensors."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from runtime import distributed
from runtime.engine.config import EngineConfig
from runtime.engine.prepare import cast_buffers, checkpoint_activations
from runtime.memory import traced

HEADROOM = 1 / 8
"""Of what is free on a GPU, left for what is not counted: DeepSpeed's buckets, the work space of cuDNN, cuBLAS and
NCCL, and gaps between tensors."""
CARDS = (24, 40, 80)
"""GB of the GPUs that people have."""


class TracedEngine:
    """What an `Engine` is to a step, without states and processes: for a step that is traced, not carried out.

    The weights take the precision of `config`, and their gradients are there, as after a first micro-batch.
    """

    def __init__(self, module: nn.Module, config: EngineConfig) -> None:
        self.module = module.train()
        if config.checkpoint_activations:
            checkpoint_activations(module)
        cast_buffers(module, config.dtype)
        for part in module.modules():  # `Module.to` cannot exchange fake tensors
            for name, weight in list(part.named_parameters(recurse=False)):
                cast = nn.Parameter(weight.detach().to(config.dtype))
                cast.grad = torch.zeros_like(cast)
                setattr(part, name, cast)

    def __call__(self, *args: object, **kwargs: object) -> object:
        return self.module(*args, **kwargs)

    def backward(self, loss: Tensor) -> None:
        loss.backward()

    def step(self) -> None:
        """Weights do not move."""


@dataclass(frozen=True)
class MicroBatch:
    """Bytes that a micro-batch takes beside a model's states.

    Attributes:
        activations: what the model's forward pass keeps for its backward pass.
        peak: at most, with what losses and backward pass need.
    """

    activations: int
    peak: int


def trace_micro_batch(build: Callable[[], tuple[nn.Module, Callable[[], object]]]) -> MicroBatch:
    """Count a step on fake tensors: `build` makes the model and the step of a micro-batch, which calls it once."""
    with traced() as memory, distributed.alone():
        model, step = build()
        before = memory.peak = memory.current
        kept: list[int] = []
        model.register_forward_hook(lambda *_: kept.append(memory.current - before))
        step()
        return MicroBatch(kept[0], memory.peak - before)


@dataclass(frozen=True)
class States:
    """Bytes of what a process keeps of a model's parameters, whatever the micro-batch.

    Attributes:
        optimizer: float32 master weights and Adam's moments; with Muon somewhat less.
        step: what the optimizer's step takes in passing, once the activations are gone.
    """

    weights: int
    gradients: int
    optimizer: int
    average: int
    step: int

    @classmethod
    def of(cls, parameters: int, config: EngineConfig, averages: int = 1) -> "States":
        """Divided among the processes as far as the ZeRO stage says; the layer that stage 3 makes whole is left out."""
        world, element = distributed.world_size(), config.dtype.itemsize
        share = [parameters // (world if config.zero_stage >= stage else 1) for stage in range(4)]
        on_device = not config.offload
        flat = config.zero_stage == 1 and on_device  # gradients in float32, on which the step works as they are
        return cls(
            weights=element * share[3],
            gradients=(4 if flat else element) * share[2],
            # Stage 0 steps on the weights themselves; the others on float32 copies, whatever the precision.
            optimizer=(12 if config.zero_stage else 8) * share[1] * on_device,
            average=4 * averages * share[1] * on_device,
            step=0
            if flat or not config.zero_stage
            else (element + 4) * share[1] * on_device,  # flattened, then float32
        )

    @property
    def kept(self) -> int:
        return self.weights + self.gradients + self.optimizer + self.average


class MemoryPlan:
    """Bytes that a process needs for micro-batches of so many clips, out of its `share` of a step.

    `count` traces a micro-batch of so many clips, once it is asked: for one and for the whole share. Between them lies
    a straight line, or just below it: a peak is the greatest of many moments, each in proportion to the clips.
    """

    def __init__(self, states: States, count: Callable[[int], MicroBatch], share: int) -> None:
        self.states, self.count, self.share = states, count, share

    @cached_property
    def one(self) -> MicroBatch:
        return self.count(1)

    @cached_property
    def further_clip(self) -> int:
        """What each clip after the first takes."""
        return -(-(self.count(self.share).peak - self.one.peak) // (self.share - 1)) if self.share > 1 else 0

    def needed(self, clips: int) -> int:
        return self.states.kept + max(self.states.step, self.one.peak + (clips - 1) * self.further_clip)

    def fewest_micro_batches(self, budget: float) -> int | None:
        """The smallest number of equal micro-batches of the share of which each needs at most `budget` bytes."""
        fitting = (n for n in range(1, self.share + 1) if self.share % n == 0 and self.fits(n, budget))
        return next(fitting, None)

    def fits(self, accumulation: int, budget: float) -> bool:
        return self.needed(self.share // accumulation) <= budget

    def describe(self, clips: int) -> str:
        """States, what a micro-batch needs beside them, their sum for micro-batches of `clips`, and what fits where."""
        states, one = self.states, self.one
        return (
            f"memory of a process: {gigabytes(states.kept)} for weights ({gigabytes(states.weights)}), gradients "
            f"({gigabytes(states.gradients)}), optimizer states ({gigabytes(states.optimizer)}) and average "
            f"({gigabytes(states.average)})\n"
            f"  one clip: {gigabytes(one.activations)} activations, {gigabytes(one.peak - one.activations)} for losses "
            f"and backward pass; each further clip of a micro-batch: {gigabytes(self.further_clip)}\n"
            f"  in all: {gigabytes(self.needed(clips))} for micro-batches of {clips}; {self.on_cards()}"
        )

    def on_cards(self) -> str:
        chosen = {card: self.fewest_micro_batches(usable(card * 1e9)) for card in CARDS}
        held = {card: f"{self.share // n} (accumulation {n})" if n else "none" for card, n in chosen.items()}
        return "clips that fit: " + ", ".join(f"{clips} into {card} GB" for card, clips in held.items())


def usable(free: float) -> float:
    """Bytes of a GPU that a plan may fill."""
    return (1 - HEADROOM) * free


def gigabytes(size: float) -> str:
    return f"{size / 1e9:.2f} GB"
