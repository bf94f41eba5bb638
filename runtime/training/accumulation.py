"""How many micro-batches a step is made of, where the configuration leaves that to the device's memory."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypeVar

import torch
import yaml

from runtime import distributed
from runtime.engine.config import EngineConfig
from runtime.errors import UserError
from runtime.training.loop import LoopConfig
from runtime.training.memory_plan import MemoryPlan, gigabytes, usable


class RunConfig(Protocol):
    """What the configurations of both stages have."""

    run: str
    engine: EngineConfig
    loop: LoopConfig


Config = TypeVar("Config", bound=RunConfig)


def settle_accumulation(what: str, config: Config, make_plan: Callable[[], MemoryPlan]) -> Config:
    """The configuration with a number in place of `accumulation: auto`, the same one on all processes.

    On a CPU it is 1. On a GPU it is the smallest that fits into the memory of the process that has least. A run that
    is continued keeps its own, unless that no longer divides the batch or fits. Raises `UserError` when not even one
    clip at a time fits.
    """
    if config.engine.accumulation != "auto":
        return config
    budget = usable_memory(distributed.device())
    accumulation = distributed.on_main(lambda: choose(what, config, make_plan, budget))
    return replace(config, engine=replace(config.engine, accumulation=accumulation))


def usable_memory(device: torch.device) -> float | None:
    """Bytes that every process may fill; None on a CPU, whose memory is not looked at."""
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    return usable(-distributed.greatest(-free))


def choose(what: str, config: RunConfig, make_plan: Callable[[], MemoryPlan], budget: float | None) -> int:
    share, before = config.loop.share(), accumulation_of(Path(config.run))
    plan = None if budget is None else make_plan()
    divides = before is not None and share % before == 0
    if divides and (plan is None or plan.fits(before, budget)):
        return before
    if before is not None:
        reason = "need more memory than there is" if divides else f"cannot share the {share} clips of a process"
        print(f"{what}: the {before} micro-batches that a step of this run had {reason}", flush=True)
    if plan is None:
        return 1
    if (accumulation := plan.fewest_micro_batches(budget)) is None:
        raise UserError(does_not_fit(plan, config.engine, budget))
    clips = share // accumulation
    print(
        f"{what}: {accumulation} micro-batches a step, of {clips} clips each on each process, for which "
        f"{gigabytes(plan.needed(clips))} of {gigabytes(budget)} are needed",
        flush=True,
    )
    return accumulation


def accumulation_of(run: Path) -> int | None:
    """What the run in this folder was configured with, if there is one."""
    path = run / "config.yaml"
    return yaml.safe_load(path.read_text())["engine"]["accumulation"] if path.is_file() else None


def does_not_fit(plan: MemoryPlan, config: EngineConfig, budget: float) -> str:
    helps = {
        "--engine.checkpoint_activations true": not config.checkpoint_activations,
        "--engine.zero_stage 2 or 3": distributed.world_size() > 1 and config.zero_stage < 2,
        "more GPUs": config.zero_stage > 0,
        "--engine.offload true": not config.offload,
        "a smaller model": True,
    }
    return (
        f"one clip at a time needs {gigabytes(plan.needed(1))} and {gigabytes(budget)} of the GPU may be used; what "
        f"helps: {', '.join(name for name, possible in helps.items() if possible)}"
    )
