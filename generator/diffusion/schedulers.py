"""The diffusers schedulers that sample what an objective trains."""

from collections.abc import Callable

from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    SchedulerMixin,
    UniPCMultistepScheduler,
)

from generator.config import DiffusionConfig
from runtime.errors import UserError

# "trailing" starts at the last step, where there is nothing left but noise.
CLEAN = {"prediction_type": "sample", "timestep_spacing": "trailing"}


def _straight(config: DiffusionConfig) -> dict[str, object]:
    return {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": config.time_shift}


SCHEDULERS: dict[str, dict[str, Callable[[DiffusionConfig], SchedulerMixin]]] = {
    "x0": {
        "ddim": lambda config: DDIMScheduler(config.num_train_steps, clip_sample=False, **CLEAN),
        "dpm": lambda config: DPMSolverMultistepScheduler(config.num_train_steps, **CLEAN),
        "unipc": lambda config: UniPCMultistepScheduler(config.num_train_steps, **CLEAN),
    },
    "flow": {
        "heun": lambda config: FlowMatchHeunDiscreteScheduler(config.num_train_steps, config.time_shift),
        "euler": lambda config: FlowMatchEulerDiscreteScheduler(config.num_train_steps, config.time_shift),
        "dpm": lambda config: DPMSolverMultistepScheduler(config.num_train_steps, **_straight(config)),
        "unipc": lambda config: UniPCMultistepScheduler(config.num_train_steps, **_straight(config)),
    },
}
NAMES = tuple(dict.fromkeys(name for schedulers in SCHEDULERS.values() for name in schedulers))


def make_scheduler(config: DiffusionConfig, name: str | None = None) -> SchedulerMixin:
    """A scheduler for what the configuration's objective trains; by default the first: DDIM, or Heun's method.

    DDIM (arXiv 2010.02502), DPM-Solver++ (2211.01095), UniPC (2302.04867). Raises `UserError`
    for one that does not fit.
    """
    fitting = SCHEDULERS[config.objective]
    if name is not None and name not in fitting:
        raise UserError(
            f"the scheduler {name} does not sample {config.objective} predictions: choose {', '.join(fitting)}"
        )
    return fitting[name or next(iter(fitting))](config)


def check_steps(scheduler: SchedulerMixin, steps: int) -> None:
    """Raises `UserError` for a number of steps that the scheduler cannot take."""
    levels = scheduler.config.num_train_timesteps
    if not 1 <= steps <= levels:
        raise UserError(f"{steps} sampling steps: choose from 1 to {levels}")
    # DDIM's stride is a whole number; otherwise the noise level it assumes drifts from the one it tells the model.
    if isinstance(scheduler, DDIMScheduler) and levels % steps:
        raise UserError(f"{steps} sampling steps do not divide the {levels} training steps: choose a divisor")
