"""A cell: one variant trained with one seed, and measured. It is done once; half done, it goes on."""

import gc
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, median

from data.latents import LatentCache, TwinLatents
from eval.ablations.variants import Variant
from eval.generation.sweep import Judge, measure
from eval.measures.denoising import denoising_error
from generator.diffusion import make_objective
from generator.diffusion.schedulers import name_of
from generator.draw import Sampling, open_pipeline
from generator.pipeline import VidTwinPipeline
from generator.stage2 import Stage2Config
from generator.train import train
from runtime import distributed
from runtime.files import write_json
from runtime.precision import full_precision
from runtime.random import seed_of

FIGURES = "figures.json"
BATCH = 50

Figures = dict[str, float]


@dataclass(frozen=True)
class Cell:
    """Where it is kept, of what it is made.

    Attributes:
        num: videos that are sampled.
        folder: named by all that the figures depend on, so that those of other settings are never taken for them.
    """

    variant: Variant
    config: Stage2Config
    num: int
    folder: Path

    @property
    def figures(self) -> Figures | None:
        """What was measured, if it was."""
        record = self.folder / FIGURES
        return json.loads(record.read_text()) if record.is_file() else None


def make_cells(
    variants: Sequence[Variant], seeds: Sequence[int], run: Path, num: int, classifier_steps: int, out: Path
) -> list[Cell]:
    """All cells, seed by seed, so that a table of one seed is there at half the time."""
    latents = LatentCache(run / "latents/train")
    places = ["--cache", str(latents.folder), "--autoencoder", str(run / "weights/ema")]
    others = latents.manifest["autoencoder"], len(latents), num, classifier_steps
    cells = []
    for seed in seeds:
        for variant in variants:
            config = variant.config(*places, "--loop.seed", str(seed))
            key = seed_of(repr((replace(config, run="", cache="", autoencoder=""), *others))) % 16**8
            folder = out / "cells" / f"{variant.slug}-{key:08x}"
            cells.append(Cell(variant, replace(config, run=str(folder)), num, folder))
    return cells


@full_precision()
def fill(cell: Cell, judge: Judge, held_out: LatentCache) -> Figures:
    """Train, sample, measure, and keep the figures."""
    if not (cell.folder / "training.json").is_file():
        train(cell.config)
        gc.collect()  # an engine and its hooks hold on to each other
    pipeline = open_pipeline(cell.folder / "weights/ema", scheduler=None, weak=None).to(distributed.device())
    errors = held_out_error(cell.config, pipeline, held_out)
    sampling = Sampling(
        pipeline.config.num_inference_steps,
        pipeline.config.guidance_scale,
        tuple(pipeline.config.guidance_interval),
        name_of(pipeline.scheduler),
        seed=cell.config.loop.seed,
        batch_size=BATCH,
    )
    quality = measure(pipeline, judge, sampling, cell.num)
    figures = {
        "error": mean(errors.values()),
        **{f"error_{latent}": error for latent, error in errors.items()},
        "accuracy": quality["accuracy"],
        "classifier_frechet": quality["classifier_frechet"],
        "parameters": sum(p.numel() for p in pipeline.transformer.parameters()),
        "step_ms": step_time(cell),
        "seed": cell.config.loop.seed,
    }
    write_json(cell.folder / FIGURES, figures)
    shutil.rmtree(cell.folder / "checkpoints", ignore_errors=True)
    return figures


def held_out_error(config: Stage2Config, pipeline: VidTwinPipeline, held_out: LatentCache) -> dict[str, float]:
    """Of the posterior means in a cache."""
    model, device = pipeline.transformer, distributed.device()
    stored = held_out.load(("structure_mean", "dynamics_mean", "label"), device)
    latents = TwinLatents(stored["structure_mean"].float(), stored["dynamics_mean"].float())
    return denoising_error(model, make_objective(config.diffusion), model.normalise(latents), stored["label"])


def step_time(cell: Cell) -> float:
    """Milliseconds of a training step, the median over what was logged."""
    lines = [json.loads(line) for line in (cell.folder / "metrics.jsonl").read_text().splitlines()]
    rates = [line["speed/clips_per_second"] for line in lines if "speed/clips_per_second" in line]
    return 1000 * cell.config.loop.batch_size / median(rates)
