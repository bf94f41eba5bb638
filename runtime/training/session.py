"""A run in progress: what moves, how far it is, where it is reported and saved, and how it stops."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Generic, TypeVar

import torch
from torch import Tensor

from runtime import distributed
from runtime.engine.engine import Engine
from runtime.errors import Preempted, UserError
from runtime.files import write_json
from runtime.preemption import StopRequest
from runtime.progress import Progress
from runtime.random import seed_of
from runtime.training import checkpoint
from runtime.training.curves import plot_curves
from runtime.training.ema import Averages
from runtime.training.loop import LoopConfig, checkpoint_bytes
from runtime.training.nonfinite import NonFiniteWatch
from runtime.training.run import RunFolder
from runtime.training.snapshots import drop_snapshots_after
from runtime.training.speed import Speed
from runtime.training.tracker import Tracker

Clip = TypeVar("Clip")


class Session(Generic[Clip]):
    """Engines, averaged weights and counters of a run; resumed when made.

    A step of a loop: `seed` each micro-step, `end_step`, `log` what is due, `save` what is due, `stop_if_asked`.
    Raises `UserError` when the disk cannot hold two checkpoints.
    """

    def __init__(
        self,
        what: str,
        run: RunFolder,
        loop: LoopConfig,
        engines: Mapping[str, Engine],
        ema: Averages,
        speed: Speed,
        file_of: Callable[[Clip], str],
    ) -> None:
        self.what, self.run, self.loop = what, run, loop
        self.engines, self.ema, self.speed, self.file_of = engines, ema, speed, file_of
        self.step = self.saved_step = 0
        self.drawn_step = -1
        self.details = ""
        self.best = float("-inf")
        self.skipped_files: set[str] = set()
        self.skipped_steps = self.skipped_in_a_row = 0
        self.watch: NonFiniteWatch | None = None
        self.stop = StopRequest()
        self.checkpoints = checkpoint.Saver(run.checkpoints, loop.keep)
        size = sum(checkpoint_bytes(engine.parameters, engine.config, loop.averages) for engine in engines.values())
        distributed.on_main(lambda: checkpoint.require_space(run.checkpoints, size))
        self.resume()
        progress = Progress(
            what, loop.steps * loop.batch_size, "clips", self.step * loop.batch_size, distributed.is_main()
        )
        self.tracker = Tracker(run.folder, self.step, progress, distributed.is_main(), loop.wandb)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Around the loop: signals ask it to stop, and an error names rank and step.

        A checkpoint on its way reaches its place whatever happens: the run's folder is another's afterwards.
        """
        try:
            with self.stop:
                yield
                self.checkpoints.wait()
        except Exception as error:
            error.add_note(f"{self.what}: rank {distributed.rank()} failed at step {self.step}")
            raise
        finally:
            self.checkpoints.join()

    def resume(self) -> None:
        state = checkpoint.resume(self.run.checkpoints, self.engines)
        if state is not None:
            self.step = self.saved_step = state["step"]
            self.skipped_files = set(state["skipped_files"])
            self.skipped_steps, self.best = state["skipped_steps"], state["best"]
            self.ema.load_state_dict(state["ema"])
            if distributed.is_main():
                print(f"{self.what}: continuing from step {self.step} of {self.loop.steps}", flush=True)
        distributed.on_main(lambda: drop_snapshots_after(self.run.averages, self.step))

    def save(self, best: bool = False) -> None:
        state = {
            "step": self.step,
            "skipped_files": sorted(self.skipped_files),
            "skipped_steps": self.skipped_steps,
            "best": self.best,
            "ema": self.ema.state_dict(),
        }
        self.checkpoints.save(self.step, self.engines, state, best)
        self.saved_step = self.step

    def seed(self, micro_step: int) -> None:
        """Dropout and noise of a micro-step come from its name alone."""
        torch.manual_seed(seed_of("step", self.loop.seed, self.step, micro_step, distributed.rank()))

    def watched(self) -> AbstractContextManager:
        """Around a step: after one that was left out, the next is looked at tensor by tensor."""
        self.watch = None
        if self.skipped_in_a_row:
            self.watch = NonFiniteWatch({name: engine.module for name, engine in self.engines.items()})
        return self.watch or nullcontext()

    def end_step(self, clips: Sequence[Clip]) -> None:
        """Count a step on these clips, whose files `file_of` names, and keep the averages when that is due.

        `loop.patience` steps in a row that are not finite end the run. Snapshots stand before any checkpoint of their
        step, so that none is missing where a run goes on.
        """
        self.step += 1
        self.speed.advance(self.loop.batch_size)
        if self.loop.due(self.step, self.loop.snapshot_every):
            self.ema.write_snapshots(self.run.averages, self.step)
        if not any(engine.skipped for engine in self.engines.values()):
            self.skipped_in_a_row = 0
            return
        self.skipped_steps += 1
        self.skipped_in_a_row += 1
        names = sorted({self.file_of(clip) for clip in distributed.gather(list(clips))})
        said = f"a loss or gradient was not finite at step {self.step} on {', '.join(names)}"
        if self.skipped_in_a_row >= self.loop.patience:
            self.save()
            distributed.on_main(lambda: self.give_up(said))
        if distributed.is_main():
            print(f"\n{self.what}: {said}; the step was left out", flush=True)

    def give_up(self, said: str) -> None:
        watched = f"; not finite first: {self.watch.verdict}" if self.watch else ""
        raise UserError(f"{self.what}: {said}, the last of {self.skipped_in_a_row} such steps in a row{watched}")

    def log(self, values: Mapping[str, Tensor | float]) -> None:
        """Report `values` at this step; tensors are read, and averaged over processes, only here."""
        names = sorted(values)
        stacked = torch.stack([torch.as_tensor(values[name], device=distributed.device()).float() for name in names])
        means = dict(zip(names, distributed.mean_over_ranks(stacked).tolist(), strict=True))
        self.tracker.log(self.step, means)
        self.details = "  ".join(f"{name} {means[name]:.4g}" for name in ("loss", "psnr") if name in means)

    def state_of_engines(self) -> dict[str, float]:
        """Learning rate and gradient norm of each engine that has begun, steps left out, speed and memory."""
        begun = {name: engine for name, engine in self.engines.items() if engine.step_count}
        rates = {f"learning_rate/{name}": engine.learning_rate for name, engine in begun.items()}
        norms = {f"gradient_norm/{name}": engine.gradient_norm for name, engine in begun.items()}
        return rates | norms | {"skipped_steps": self.skipped_steps} | self.speed.read()

    def validated(self, values: Mapping[str, Tensor | float], quality: float) -> None:
        """Report held-out figures, draw the curves so far, and save a checkpoint of the best `quality`, which stays."""
        self.log(values)
        self.draw_curves()
        if quality > self.best:
            self.best = quality
            self.save(best=True)

    def draw_curves(self) -> None:
        """Once a step is enough: nothing more is logged at it."""
        if distributed.is_main() and self.drawn_step < self.step:
            self.drawn_step = self.step
            plot_curves(self.run.folder / "metrics.jsonl", self.run.folder / "curves.png")

    def advance(self) -> None:
        """A line of progress, a checkpoint when one is due, and the end when one was asked for."""
        self.tracker.progress.advance(self.loop.batch_size, self.details)
        stopped_by = self.stop.agreed()
        if self.saved_step < self.step and (stopped_by or self.loop.due(self.step, self.loop.save_every)):
            self.save()
        if stopped_by:
            self.checkpoints.wait()
            raise Preempted(stopped_by, f"step {self.step} of {self.loop.steps}")

    def close(self) -> None:
        """The run is over: its summary says what was left out, by name."""
        self.tracker.close()
        if distributed.is_main():
            skipped = sorted(self.skipped_files)
            summary = {"steps": self.step, "skipped_steps": self.skipped_steps, "skipped_files": skipped}
            write_json(self.run.folder / "training.json", summary)
            if skipped:
                print(f"{self.what}: {len(skipped)} bad files were skipped: {', '.join(skipped)}")
        self.draw_curves()
