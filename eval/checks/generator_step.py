"""A training step of stage two: `base` on a GPU, a tiny model on a CPU, on the latents of the small stage one."""

import tempfile
from pathlib import Path

from data.latents import LatentCache
from eval.checks.check import Found, Place
from eval.checks.small import CONFIGS, DIT
from eval.checks.speed import described
from generator.batches import LatentBatches
from generator.diffusion import make_objective
from generator.flops import training_flops
from generator.stage2 import Stage2Config
from generator.train import build_session, model_config, training_step
from runtime import distributed
from runtime.config import load
from runtime.measurement import Measurement
from runtime.script import quiet_libraries
from runtime.training.run import RunFolder

REPEATS = 5
BATCH = {"cpu": 4, "cuda": 64}


def measure(place: Place) -> Found:
    """Optimizer and average included, as training does it."""
    quiet_libraries()
    batch = BATCH[place.device]
    sizes = DIT["cpu"] if place.device == "cpu" else ()
    latents = ["--cache", str(place.run("stage1") / "latents/train")]
    settings = [*sizes, *latents, "--loop.batch_size", str(batch), "--engine.accumulation", "1"]
    config = load(Stage2Config, CONFIGS / "stage2/paper.yaml", settings)
    cache = LatentCache(config.cache)
    with distributed.processes():
        session = build_session(config, RunFolder(Path(tempfile.mkdtemp(dir=place.out))), cache)
        batches, objective = LatentBatches(cache, config)(0, 1), make_objective(config.diffusion)

        def step() -> None:
            training_step(config, session, objective, batches)
            session.step += 1

        flops = training_flops(model_config(config, cache), config.diffusion)
        row = Measurement.of("training step", step, batch, flops, REPEATS, config.engine.dtype)
    return described(row.figures())
