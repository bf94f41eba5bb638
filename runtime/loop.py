"""What the two training loops share: their settings, their random state, their resumable state, their plan."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from runtime import checkpoint, distributed
from runtime.config import Config, parse
from runtime.curves import plot_curves
from runtime.ema import EMA
from runtime.engine import Engine, EngineConfig
from runtime.errors import UserError
from runtime.files import write_json
from runtime.progress import Progress
from runtime.random import seed_of
from runtime.run import RunFolder
from runtime.tracker import Tracker
from runtime.weights import save_model


@dataclass(frozen=True)
class LoopConfig:
    """How long a run lasts and what it does on schedule. All counts are optimizer steps.

    Attributes:
        batch_size: clips a step, over all processes and micro-batches.
        ema_decay: of the averaged weights.
        log_every, validate_every, save_every: 0 means at the end only.
        keep: checkpoints that stay.
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
    wandb: str = ""

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1:
            raise UserError("--loop.steps and --loop.batch_size must be at least 1")

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


class Session:
    """A run in progress: engines, averaged weights and counters, and where they are reported and saved."""

    def __init__(self, run: RunFolder, loop: LoopConfig, engines: Mapping[str, Engine], ema: EMA, what: str) -> None:
        self.run, self.loop, self.engines, self.ema, self.what = run, loop, engines, ema, what
        self.step = 0
        self.details = ""
        self.skipped: set[str] = set()
        self.resume()
        progress = Progress(
            what, loop.steps * loop.batch_size, "clips", self.step * loop.batch_size, distributed.is_main()
        )
        self.tracker = Tracker(run.folder, self.step, progress, distributed.is_main(), loop.wandb)

    def resume(self) -> None:
        state = checkpoint.resume(self.run.checkpoints, self.engines)
        if state is not None:
            self.step = state["step"]
            self.skipped = set(state["skipped"])
            self.ema.load_state_dict(state["ema"])
            if distributed.is_main():
                print(f"{self.what}: continuing from step {self.step} of {self.loop.steps}", flush=True)

    def seed(self, micro_step: int) -> None:
        """Dropout and noise of a micro-step come from its name alone."""
        torch.manual_seed(seed_of("step", self.loop.seed, self.step, micro_step, distributed.rank()))

    def save(self) -> None:
        state = {"step": self.step, "skipped": sorted(self.skipped), "ema": self.ema.state_dict()}
        checkpoint.save(self.run.checkpoints, self.step, self.engines, state, self.loop.keep)

    def log(self, values: Mapping[str, Tensor | float]) -> None:
        """Report `values` at this step; tensors are read, and averaged over processes, only here."""
        names = sorted(values)
        stacked = torch.stack([torch.as_tensor(values[name], device=distributed.device()).float() for name in names])
        means = dict(zip(names, distributed.mean_over_ranks(stacked).tolist(), strict=True))
        self.tracker.log(self.step, {**means, "clips_per_second": self.tracker.progress.rate})
        self.details = "  ".join(f"{name} {means[name]:.4g}" for name in ("loss", "psnr") if name in means)

    def engine_state(self) -> dict[str, float]:
        """Learning rate and gradient norm of each engine that has begun."""
        begun = {name: engine for name, engine in self.engines.items() if engine.step_count}
        rates = {f"learning_rate/{name}": engine.learning_rate for name, engine in begun.items()}
        return rates | {f"gradient_norm/{name}": engine.gradient_norm for name, engine in begun.items()}

    def advance(self) -> None:
        """A line of progress after a step."""
        self.tracker.progress.advance(self.loop.batch_size, self.details)

    def close(self) -> None:
        """The run is over: its summary says how many files were left out, by name."""
        self.tracker.close()
        if distributed.is_main():
            summary = {"steps": self.step, "skipped_files": sorted(self.skipped)}
            write_json(self.run.folder / "training.json", summary)
            plot_curves(self.run.folder / "metrics.jsonl", self.run.folder / "curves.png")
            if self.skipped:
                print(f"{self.what}: {len(self.skipped)} bad files were skipped: {', '.join(sorted(self.skipped))}")


def load_raw_weights(engine: Engine, prefix: str, twin: nn.Module) -> nn.Module:
    """The engine's float32 weights in `twin`, a bare copy of its submodule `prefix`. All processes call it."""
    weights = {
        name.removeprefix(prefix): value.cpu() for name, value in engine.master_weights() if name.startswith(prefix)
    }
    twin.load_state_dict(weights, strict=False)
    return twin


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
    """What a training script does: read its configuration, then train, or print the plan for `--dry-run`."""
    config, only_plan = parse(config_class, argv, description)
    if not only_plan:
        with distributed.processes():
            train(config)
    elif distributed.is_main():
        print(plan(config))


def describe_plan(name: str, parameters: int, config: EngineConfig, loop: LoopConfig) -> str:
    """What a run will need, for `--dry-run`: counted from the parameters, activations aside."""
    divided = distributed.world_size() if config.zero_stage else 1
    weights_and_gradients = parameters * (4 if config.precision == "bf16" else 8)
    states = parameters * (12 if config.precision == "bf16" else 8) / divided
    average = 4 * parameters
    saved = 4 * parameters + parameters * (14 if config.precision == "bf16" else 12)
    gigabytes = [
        f"{each / 1e9:.2f} GB" for each in (weights_and_gradients + states + average, saved, saved * (loop.keep + 1))
    ]
    micro_batch = loop.micro_batch(config.accumulation)
    return (
        f"{name}: {parameters / 1e6:.2f} M parameters\n"
        f"steps: {loop.steps} of {loop.batch_size} clips ({micro_batch} a process and micro-batch)\n"
        f"memory: {gigabytes[0]} a process for weights, gradients, optimizer states and average (activations aside)\n"
        f"disk: {gigabytes[1]} a checkpoint, {gigabytes[2]} at most"
    )
