"""How long a training loop runs and what it will need; what both stages' scripts do before and after it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from runtime import distributed
from runtime.config import Config, parse
from runtime.errors import UserError
from runtime.training.engine import EngineConfig
from runtime.weights import save_model


@dataclass(frozen=True)
class LoopConfig:
    """How long a run lasts and what it does on schedule. All counts are optimizer steps.

    Attributes:
        batch_size: clips a step, over all processes and micro-batches.
        ema_decay: of the averaged weights.
        log_every, validate_every, save_every: 0 means at the end only.
        keep: newest checkpoints that stay, beside the best.
        patience: steps in a row that may be left out because a loss or gradient was not finite.
        wandb: project on Weights & Biases; empty for none.
    """

    steps: int = 100_000
    batch_size: int = 24
    seed: int = 0
    ema_decay: float = 0.999
    log_every: int = 50
    validate_every: int = 2000
    save_every: int = 1000
    keep: int = 2
    patience: int = 10
    wandb: str = ""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "keep", "patience"):
            if getattr(self, name) < 1:
                raise UserError(f"--loop.{name} must be at least 1")

    def micro_batch(self, accumulation: int) -> int:
        """Clips in one forward pass of one process."""
        parts = distributed.world_size() * accumulation
        if self.batch_size % parts:
            raise UserError(
                f"a batch of {self.batch_size} cannot be split over {distributed.world_size()} processes with "
                f"{accumulation} micro-batches each; change --loop.batch_size or --engine.accumulation"
            )
        return self.batch_size // parts

    def due(self, step: int, every: int) -> bool:
        """Whether something done `every` so many steps is due after `step` of them."""
        return step == self.steps or (every > 0 and step % every == 0)


def load_raw_weights(twin: nn.Module, weights: Iterable[tuple[str, Tensor]]) -> None:
    """Put an engine's float32 weights into a bare copy of its model. All processes call it."""
    twin.load_state_dict({name: weight.cpu() for name, weight in weights}, strict=False)


def save_both(weights: Path, ema: nn.Module, raw: nn.Module) -> None:
    """`weights/ema` and `weights/raw` as diffusers folders."""
    if distributed.is_main():
        weights.mkdir(parents=True, exist_ok=True)
        save_model(ema, weights / "ema")
        save_model(raw, weights / "raw")
    distributed.barrier()


def run_or_plan(
    config_class: type[Config],
    argv: Sequence[str],
    description: str,
    train: Callable[[Config], None],
    plan: Callable[[Config], str],
) -> None:
    """What a training script does: read its configuration, then train, or print the plan for `--dry_run`."""
    config, only_plan = parse(config_class, argv, description)
    if not only_plan:
        with distributed.processes():
            train(config)
    elif distributed.is_main():
        print(plan(config))


def checkpoint_bytes(parameters: int, config: EngineConfig) -> int:
    """What a checkpoint takes on disk: weights, the optimizer's states, and the average in float32."""
    return parameters * (18 if config.precision == "bf16" else 16)


def describe_plan(name: str, parameters: int, config: EngineConfig, loop: LoopConfig) -> str:
    """What a run will need, for `--dry_run`: counted from the parameters, activations aside."""
    divided = distributed.world_size() if config.zero_stage else 1
    weights_and_gradients = parameters * (4 if config.precision == "bf16" else 8)
    states = parameters * (12 if config.precision == "bf16" else 8) / divided
    average = 4 * parameters
    saved = checkpoint_bytes(parameters, config)
    gigabytes = [
        f"{each / 1e9:.2f} GB" for each in (weights_and_gradients + states + average, saved, saved * (loop.keep + 2))
    ]
    micro_batch = loop.micro_batch(config.accumulation)
    return (
        f"{name}: {parameters / 1e6:.2f} M parameters\n"
        f"steps: {loop.steps} of {loop.batch_size} clips ({micro_batch} a process and micro-batch)\n"
        f"memory: {gigabytes[0]} a process for weights, gradients, optimizer states and average (activations aside)\n"
        f"disk: {gigabytes[1]} a checkpoint, {gigabytes[2]} at most"
    )
