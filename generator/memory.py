"""What a step of stage two takes of a device's memory."""

from collections.abc import Callable
from dataclasses import asdict

import torch
from torch import nn

from data.latents import TwinLatents
from generator.config import DiffusionConfig, DiTConfig
from generator.diffusion import diffusion_loss, make_objective
from generator.dit import DiT
from runtime.engine.config import EngineConfig
from runtime.random import generator
from runtime.training.loop import LoopConfig
from runtime.training.memory_plan import MemoryPlan, MicroBatch, States, TracedEngine, trace_micro_batch


def memory_plan(model: DiTConfig, diffusion: DiffusionConfig, engine: EngineConfig, loop: LoopConfig) -> MemoryPlan:
    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in DiT(**asdict(model)).parameters())

    def micro_batch(clips: int) -> MicroBatch:
        return trace_micro_batch(lambda: step_of(model, diffusion, engine, clips))

    return MemoryPlan(States.of(parameters, engine, loop.averages), micro_batch, loop.share())


def step_of(
    model: DiTConfig, diffusion: DiffusionConfig, engine: EngineConfig, clips: int
) -> tuple[nn.Module, Callable[[], object]]:
    """A DiT and its step on so many clips, for tracing."""
    dit = TracedEngine(DiT(**asdict(model)), engine)
    latents = (
        torch.empty(clips, *shape, dtype=engine.dtype) for shape in (model.structure_shape, model.dynamics_shape)
    )
    clean, label = TwinLatents(*latents), torch.zeros(clips, dtype=torch.int64)

    def step() -> None:
        objective, null_label = make_objective(diffusion), dit.module.null_label
        context = clean if diffusion.context else None  # of two kinds of step the one that takes more
        dit.backward(diffusion_loss(dit, objective, clean, label, null_label, generator("memory"), context)[0])

    return dit.module, step
