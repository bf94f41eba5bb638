"""Where a training step of stage one spends its time: every part is waited for, on the device too."""

import functools
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from autoencoder.losses.objective import Objective
from autoencoder.stage1.clips import training_clips
from autoencoder.stage1.config import Stage1Config
from autoencoder.train import build, training_step
from eval.checks.check import Found, Place
from eval.checks.small import CONFIGS, TINY_VIDTWIN
from eval.checks.speed import BATCH
from runtime import distributed
from runtime.config import load
from runtime.engine.engine import Engine
from runtime.flops import timed
from runtime.script import quiet_libraries
from runtime.training.ema import Averages
from runtime.training.run import RunFolder
from runtime.training.session import Session

WARM_UP, REPEATS = 2, 6
METHODS = {
    "forward": (Engine, "__call__"),
    "loss": (Objective, "autoencoder_loss"),
    "backward": (Engine, "backward"),
    "optimizer": (Engine, "step"),
    "average": (Averages, "update"),
    "logging": (Session, "log"),
}


class Stopwatch:
    """Seconds of each part of each step; `rest` is what no part took."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.steps = device, []

    def time(self, part: str, run: Callable[[], object]) -> object:
        box = []
        self.steps[-1][part] += timed(lambda: box.append(run()), self.device)
        return box[0]

    def watch(self, kind: type, method: str, part: str) -> None:
        """From now on that method of every object is timed."""
        original = getattr(kind, method)

        @functools.wraps(original)
        def watched(*args: object, **kwargs: object) -> object:
            return self.time(part, lambda: original(*args, **kwargs))

        setattr(kind, method, watched)

    def data(self, batches: Iterator[dict[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
        while True:
            yield self.time("data", lambda: next(batches))

    def step(self, run: Callable[[], None]) -> None:
        self.steps.append(defaultdict(float))
        total = timed(run, self.device)
        self.steps[-1]["rest"] = total - sum(self.steps[-1].values())

    def medians(self) -> dict[str, float]:
        measured = self.steps[WARM_UP:]
        return {part: statistics.median(step[part] for step in measured) for part in ("data", *METHODS, "rest")}


def measure(place: Place) -> Found:
    """`base` without LPIPS and before its discriminator begins, logging each step."""
    quiet_libraries()
    sizes = (*TINY_VIDTWIN, "--data.workers", "0") if place.device == "cpu" else ()
    run = tempfile.mkdtemp(dir=place.out)
    settings = [*sizes, "--data.root", str(place.data), "--run", run, "--loss.perceptual", "0"]
    settings += ["--loop.batch_size", str(BATCH[place.device]), "--engine.accumulation", "1"]
    config = load(Stage1Config, CONFIGS / "stage1/base.yaml", settings)
    with distributed.processes():
        watch = Stopwatch(distributed.device())
        for part, (kind, method) in METHODS.items():
            watch.watch(kind, method, part)
        session, objective = build(config, RunFolder(Path(run)))
        batches = watch.data(iter(training_clips(config)(0)))

        def step() -> None:
            terms, files = training_step(config, session, objective, batches)
            session.end_step(files)
            session.log(terms | session.state_of_engines())

        for _ in range(WARM_UP + REPEATS):
            watch.step(step)
        parts = watch.medians()
    total = sum(parts.values())
    shown = ", ".join(f"{part} {seconds / total:.0%}" for part, seconds in parts.items())
    return Found(f"{1000 * total:.0f} ms: {shown}", {"seconds": parts, "total": total})
