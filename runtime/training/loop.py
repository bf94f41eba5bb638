"""How long a training loop runs and what it will need; what both stages' scripts do before and after it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from runtime import distributed
from runtime.config import Config, parse
from runtime.engine.config import EngineConfig
from runtime.errors import UserError
from runtime.training import snapshots
from runtime.training.memory_plan import MemoryPlan, gigabytes
from runtime.training.power_average import exponent
from runtime.weights import save_model


@dataclass(frozen=True)
class LoopConfig:
    """How long a run lasts and what it does on schedule. All counts are optimizer steps.

    Attributes:
        batch_size: clips a step, over all processes and micro-batches.
        ema_decay: of the averaged weights.
        ema_widths: keep averages of these widths in its place, as parts of the training so far, the first of which is
            validated, previewed and written to `weights/ema`; `runtime.training.power_average` says what they are.
        snapshot_every: how often they are kept in `averages/`, of which any other width is made after training.
        log_every, validate_every, save_every, snapshot_every: 0 means at the end only.
        keep: newest checkpoints that stay, beside the best.
        patience: steps in a row that may be left out because a loss or gradient was not finite.
        wandb: project on Weights & Biases; empty for none.
    """

    steps: int = 100_000
    batch_size: int = 24
    seed: int = 0
    ema_decay: float = 0.999
    ema_widths: tuple[float, ...] = ()
    snapshot_every: int = 5000
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
        if len({exponent(width) for width in self.ema_widths}) < len(self.ema_widths):
            raise UserError(f"--loop.ema_widths {list(self.ema_widths)} names a width twice")

    @property
    def averages(self) -> int:
        """How many are kept."""
        return max(len(self.ema_widths), 1)

    @property
    def snapshots(self) -> int:
        """Files in `averages/` at the end."""
        times = -(-self.steps // self.snapshot_every) if self.snapshot_every else 1
        return len(self.ema_widths) * times

    @property
    def most_checkpoints(self) -> int:
        """That stand on disk at once: those kept, the best and the one that is being written."""
        return self.keep + 2

    def share(self) -> int:
        """Clips of a step that one process sees."""
        if self.batch_size % distributed.world_size():
            raise UserError(
                f"a batch of {self.batch_size} cannot be split over {distributed.world_size()} processes; "
                "change --loop.batch_size or the number of processes"
            )
        return self.batch_size // distributed.world_size()

    def micro_batch(self, accumulation: int) -> int:
        """Clips in one forward pass of one process."""
        if accumulation < 1 or self.share() % accumulation:
            raise UserError(
                f"a batch of {self.batch_size} cannot be split over {distributed.world_size()} processes with "
                f"{accumulation} micro-batches each; change --loop.batch_size or --engine.accumulation"
            )
        return self.share() // accumulation

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
        with distributed.processes(), enough_memory():
            train(config)
    elif distributed.is_main():
        print(plan(config))


@contextmanager
def enough_memory() -> Iterator[None]:
    """Around a run: a GPU that is full after all, of other programs' memory or the libraries', is a user's to mend."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise UserError(
            "the GPU's memory is full; a larger --engine.accumulation or --engine.checkpoint_activations true need "
            f"less ({error})"
        ) from error


def checkpoint_bytes(parameters: int, config: EngineConfig, averages: int) -> int:
    """What a checkpoint takes on disk: weights, the optimizer's states, and the averages in float32."""
    return parameters * ((14 if config.precision == "bf16" else 12) + 4 * averages)


def describe_plan(name: str, parameters: int, config: EngineConfig, loop: LoopConfig, memory: MemoryPlan) -> str:
    """What a run will need, for `--dry_run`; `accumulation: auto` is shown as a CPU would have it."""
    saved, snapshot = checkpoint_bytes(parameters, config, loop.averages), snapshots.ELEMENT * parameters
    clips = loop.micro_batch(1 if config.accumulation == "auto" else config.accumulation)
    split = f"{memory.share} a process, accumulation {config.accumulation}"
    disk = f"disk: {gigabytes(saved)} a checkpoint, {gigabytes(saved * loop.most_checkpoints)} at most"
    if loop.snapshots:
        kept = f"{gigabytes(loop.snapshots * snapshot)} for {loop.snapshots} snapshots of averages"
        disk += f"; {kept}, {gigabytes(snapshot)} each"
    return (
        f"{name}: {parameters / 1e6:.2f} M parameters\n"
        f"steps: {loop.steps} of {loop.batch_size} clips, {split}\n"
        f"{memory.describe(clips)}\n"
        f"{disk}"
    )
