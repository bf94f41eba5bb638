"""The diffusers schedulers that sample what an objective trains."""

from inspect import signature

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

SCHEDULERS: dict[str, dict[str, type[SchedulerMixin]]] = {
    "x0": {"ddim": DDIMScheduler, "dpm": DPMSolverMultistepScheduler, "unipc": UniPCMultistepScheduler},
    "flow": {
        "heun": FlowMatchHeunDiscreteScheduler,
        "euler": FlowMatchEulerDiscreteScheduler,
        "dpm": DPMSolverMultistepScheduler,
        "unipc": UniPCMultistepScheduler,
    },
}
NAMES = tuple(dict.fromkeys(name for schedulers in SCHEDULERS.values() for name in schedulers))
PREDICTIONS = {"x0": "sample", "flow": "flow_prediction"}


def make_scheduler(config: DiffusionConfig, name: str | None = None) -> SchedulerMixin:
    """A scheduler for what the configuration's objective trains; by default the first: DDIM, or Heun's method.

    DDIM (arXiv 2010.02502), DPM-Solver++ (2211.01095), UniPC (2302.04867). Its `config` holds what the others
    need, too, so that `DPMSolverMultistepScheduler.from_config(scheduler.config)` samples the same process. Raises
    `UserError` for one that does not fit.
    """
    kind, process = _fitting(config.objective, name), _process(config)
    scheduler = kind(**{key: value for key, value in process.items() if key in signature(kind).parameters})
    scheduler.register_to_config(**process)
    return scheduler


def exchanged(scheduler: SchedulerMixin, name: str) -> SchedulerMixin:
    """The scheduler of that name for the process that this one samples. Raises `UserError` as `make_scheduler`."""
    objective = next(each for each, predicted in PREDICTIONS.items() if scheduler.config.prediction_type == predicted)
    return _fitting(objective, name).from_config(scheduler.config)


def name_of(scheduler: SchedulerMixin) -> str:
    """The name that a scheduler goes by here, or its class's."""
    known = {kind: name for schedulers in SCHEDULERS.values() for name, kind in schedulers.items()}
    return known.get(type(scheduler), type(scheduler).__name__)


def _fitting(objective: str, name: str | None) -> type[SchedulerMixin]:
    fitting = SCHEDULERS[objective]
    if name is not None and name not in fitting:
        raise UserError(f"the scheduler {name} does not sample {objective} predictions: choose {', '.join(fitting)}")
    return fitting[name or next(iter(fitting))]


def _process(config: DiffusionConfig) -> dict[str, object]:
    """What the schedulers of a process are made of: each takes what it knows and keeps the rest for the others."""
    process = {"num_train_timesteps": config.num_train_steps, "prediction_type": PREDICTIONS[config.objective]}
    if config.objective == "x0":
        # "trailing" starts at the last step, where there is nothing left but noise.
        return {**process, "timestep_spacing": "trailing", "clip_sample": False}
    return {**process, "use_flow_sigmas": True, "flow_shift": config.time_shift, "shift": config.time_shift}


def check_steps(scheduler: SchedulerMixin, steps: int) -> None:
    """Raises `UserError` for a number of steps that the scheduler cannot take."""
    levels = scheduler.config.num_train_timesteps
    if not 1 <= steps <= levels:
        raise UserError(f"{steps} sampling steps: choose from 1 to {levels}")
    # DDIM's stride is a whole number; otherwise the noise level it assumes drifts from the one it tells the model.
    if isinstance(scheduler, DDIMScheduler) and levels % steps:
        raise UserError(f"{steps} sampling steps do not divide the {levels} training steps: choose a divisor")
