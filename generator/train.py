"""Stage two: train a class-conditional DiT on cached twin latents.

`python -m generator.train --config configs/stage2/paper.yaml --cache runs/NAME/latents --run runs/NAME/generator`
"""

import copy
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict

import torch
from torch import Tensor

from autoencoder.model import VidTwin
from data.latents import LatentCache
from data.video.frames import write_video
from generator.batches import Batch, LatentBatches
from generator.config import DiTConfig
from generator.diffusion import Objective, diffusion_loss, initial_noise, make_objective, make_scheduler
from generator.dit import DiT
from generator.flops import training_flops
from generator.grid import labelled_grid, to_bytes
from generator.memory import memory_plan
from generator.pipeline import VidTwinPipeline, save_pipeline
from generator.stage2 import Stage2Config
from generator.tokens import Statistics
from runtime import distributed
from runtime.engine.engine import Engine
from runtime.errors import UserError
from runtime.precision import computing_in
from runtime.random import generator
from runtime.script import script
from runtime.training.accumulation import settle_accumulation
from runtime.training.ema import Averages
from runtime.training.loop import describe_plan, load_raw_weights, run_or_plan
from runtime.training.memory_plan import MemoryPlan
from runtime.training.run import RunFolder
from runtime.training.session import Session
from runtime.training.speed import Speed
from runtime.weights import load_model, weights_hash


def open_cache(config: Stage2Config) -> tuple[LatentCache, VidTwin]:
    """The cache and the autoencoder that wrote it; `UserError` when they do not belong together."""
    cache = LatentCache(config.cache)
    if not cache.classes:
        raise UserError(f"{config.cache} has no labels: stage two needs a data set with classes, such as UCF-101")
    if 0 in cache.dynamics_shape:
        raise UserError(f"{config.cache} has no dynamics latent: stage two models both; choose another autoencoder")
    autoencoder = load_model(VidTwin, config.autoencoder)
    cache.require_autoencoder(weights_hash(autoencoder))
    distributed.on_main(cache.verify)
    return cache, autoencoder


def model_config(config: Stage2Config, cache: LatentCache) -> DiTConfig:
    return DiTConfig.of(
        config.model,
        config.diffusion,
        structure_shape=cache.structure_shape,
        dynamics_shape=cache.dynamics_shape,
        num_classes=len(cache.classes),
        std_of="sample" if config.sample_posterior else "mean",
    )


def train(config: Stage2Config) -> None:
    """Train to the end, from the newest checkpoint if there is one."""
    cache, autoencoder = open_cache(config)
    with RunFolder(config.run) as run:
        # What these take of a GPU is not free when the micro-batches are settled.
        latents, autoencoder = LatentBatches(cache, config), autoencoder.to(distributed.device())
        config = settle_accumulation("stage2", config, lambda: plan_of(config, cache))
        run.describe(config)
        run_loop(config, run, cache, autoencoder, latents)


def run_loop(
    config: Stage2Config, run: RunFolder, cache: LatentCache, autoencoder: VidTwin, latents: LatentBatches
) -> None:
    torch.manual_seed(config.loop.seed)
    session = build_session(config, run, cache)
    pipeline = make_pipeline(config, session.ema.model, autoencoder, cache)
    pipeline.set_progress_bar_config(disable=True)
    batches = latents(session.step, config.engine.accumulation)
    objective = make_objective(config.diffusion)
    with session.running():
        while session.step < config.loop.steps:
            with session.watched():
                terms, clips = training_step(config, session, objective, batches)
            session.end_step(clips)
            if config.loop.due(session.step, config.loop.log_every):
                session.log(terms | session.state_of_engines())
            if config.loop.due(session.step, config.loop.validate_every):
                with session.ema.whole():
                    preview(config, session, pipeline, cache)
            session.advance()
    finish(config, session, pipeline, cache)


def make_pipeline(config: Stage2Config, transformer: DiT, autoencoder: VidTwin, cache: LatentCache) -> VidTwinPipeline:
    """What samples as the configuration says."""
    diffusion = config.diffusion
    return VidTwinPipeline(
        transformer,
        autoencoder,
        make_scheduler(diffusion),
        classes=cache.classes,
        fps=cache.manifest["fps"],
        num_inference_steps=diffusion.sample_steps,
        guidance_scale=diffusion.guidance,
        guidance_interval=diffusion.guidance_interval,
    )


def build_model(config: Stage2Config, cache: LatentCache) -> DiT:
    model_fields = model_config(config, cache)
    model = DiT(**asdict(model_fields))
    model.set_statistics(Statistics(**cache.statistics(model_fields.std_of)))
    return model


def build_session(config: Stage2Config, run: RunFolder, cache: LatentCache) -> Session:
    return session_of(
        config, run, model_config(config, cache), build_model(config, cache), cache.clip_names.__getitem__
    )


def session_of(
    config: Stage2Config, run: RunFolder, fields: DiTConfig, model: DiT, file_of: Callable[[int], str]
) -> Session:
    """What moves `model`, made of `fields`; `file_of` names the file of a clip."""
    loop = config.loop
    twin = copy.deepcopy(model)
    engine = Engine(model, config.optimizer, config.engine, loop.micro_batch(config.engine.accumulation), loop.steps)
    speed = Speed(training_flops(fields, config.diffusion), config.engine.dtype)
    return Session("stage2", run, loop, {"transformer": engine}, Averages(engine, twin, loop), speed, file_of)


def training_step(
    config: Stage2Config,
    session: Session,
    objective: Objective,
    batches: Iterator[Batch],
) -> tuple[dict[str, Tensor], list[int]]:
    """One optimizer step: the terms of its last micro-batch, unread, and the clips it saw."""
    engine, average, clips = session.engines["transformer"], session.ema.model, []
    for micro_step in range(config.engine.accumulation):
        session.seed(micro_step)
        batch = next(batches)
        clips += batch.clips
        clean = average.normalise(batch.latents)
        context = None if batch.context is None else average.normalise(batch.context)
        numbers = generator(
            "diffusion", config.loop.seed, session.step, micro_step, distributed.rank(), device=engine.device
        )
        loss, terms = diffusion_loss(engine, objective, clean, batch.label, average.null_label, numbers, context)
        engine.backward(loss)
        engine.step()
    session.ema.update()
    return {"loss": loss.detach(), **terms}, clips


def preview(config: Stage2Config, session: Session, pipeline: VidTwinPipeline, cache: LatentCache) -> None:
    """A labelled grid of samples of the averaged weights, the same noise every time; the main process's work."""
    if not config.preview or not distributed.is_main():
        return
    labels = [i % len(cache.classes) for i in range(config.preview)]
    layout = pipeline.transformer.layout
    noise = initial_noise(config.loop.seed, range(config.preview), layout.structure_shape, layout.dynamics_shape)
    with computing_in(config.engine.dtype, distributed.device()):
        video = pipeline(labels, latents=[noise], output_type="pt").frames
    grid = labelled_grid(to_bytes(video), [cache.classes[label] for label in labels])
    session.run.videos.mkdir(exist_ok=True)
    fps = cache.manifest["fps"]
    write_video(session.run.videos / f"step_{session.step:08}.mp4", grid, fps)
    session.tracker.video(session.step, "samples", grid, fps)


def finish(config: Stage2Config, session: Session, pipeline: VidTwinPipeline, cache: LatentCache) -> None:
    """Write both pipelines: averaged weights and raw ones."""
    raw = build_model(config, cache).eval()
    load_raw_weights(raw, session.engines["transformer"].master_weights())
    with session.ema.whole() as averaged:
        if distributed.is_main():
            session.run.weights.mkdir(exist_ok=True)
            for name, transformer in (("ema", averaged), ("raw", raw)):
                whole = make_pipeline(config, transformer, pipeline.autoencoder, cache)
                save_pipeline(whole, session.run.weights / name)
    distributed.barrier()
    session.close()


def plan_of(config: Stage2Config, cache: LatentCache) -> MemoryPlan:
    return memory_plan(model_config(config, cache), config.diffusion, config.engine, config.loop)


def dry_run(config: Stage2Config) -> str:
    cache = LatentCache(config.cache)
    with torch.device("meta"):
        model = DiT(**asdict(model_config(config, cache)))
    layout = model.layout
    tokens = [torch.Size(grid).numel() for grid in (layout.structure_grid, layout.dynamics_grid)]
    parameters = sum(p.numel() for p in model.parameters())
    plan = describe_plan("DiT", parameters, config.engine, config.loop, plan_of(config, cache))
    data = f"{len(cache)} clips of {len(cache.classes)} classes"
    return f"{plan}\ntokens: {tokens[0]} structure + {tokens[1]} dynamics; {data}"


@script
def main(argv: list[str]) -> None:
    run_or_plan(Stage2Config, argv, "Train a DiT on twin latents (stage two).", train, dry_run)


if __name__ == "__main__":
    sys.exit(main())
