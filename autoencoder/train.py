"""Stage one: train a VidTwin.

`python -m autoencoder.train --config configs/stage1/base.yaml --data.root DIR --run runs/NAME`
"""

import copy
import sys
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from autoencoder.flops import training_flops
from autoencoder.losses.discriminator import PatchDiscriminator
from autoencoder.losses.objective import Objective, ScaledAutoencoder
from autoencoder.losses.perceptual import LPIPS, require_vgg
from autoencoder.model import VidTwin
from autoencoder.stage1.clips import training_clips, validation_clips
from autoencoder.stage1.config import Stage1Config
from autoencoder.stage1.memory import memory_plan
from autoencoder.stage1.warm_start import warm_start
from autoencoder.trained.panels import four_panels
from data.clips import skipped_files
from data.latents import TwinLatents
from data.pixels import psnr, ssim
from data.video.frames import to_float, to_uint8, write_video
from runtime import distributed
from runtime.engine.engine import Engine
from runtime.precision import computing_in
from runtime.script import script
from runtime.training.accumulation import settle_accumulation
from runtime.training.ema import Averages
from runtime.training.loop import describe_plan, load_raw_weights, run_or_plan, save_both
from runtime.training.run import RunFolder
from runtime.training.session import Session
from runtime.training.speed import Speed


def train(config: Stage1Config) -> None:
    """Train to the end, from the newest checkpoint if there is one."""
    if config.loss.perceptual:
        require_vgg()
    with RunFolder(config.run) as run:
        config = settle_accumulation("stage1", config, partial(memory_plan, config))
        run.describe(config)
        run_loop(config, run)


def run_loop(config: Stage1Config, run: RunFolder) -> None:
    training, held_out = training_clips(config), validation_clips(config)
    torch.manual_seed(config.loop.seed)
    session, objective = build(config, run)
    batches = iter(training(session.step))
    with session.running():
        while session.step < config.loop.steps:
            with session.watched():
                terms, files = training_step(config, session, objective, batches)
            session.end_step(files)
            if config.loop.due(session.step, config.loop.log_every):
                session.log(terms | session.state_of_engines())
            if config.loop.due(session.step, config.loop.validate_every):
                with session.ema.whole() as model:
                    validate(config, session, model, held_out)
            session.advance()
    finish(config, session)


def build(config: Stage1Config, run: RunFolder) -> tuple[Session[str], Objective]:
    """Both engines, resumed, and the objective that joins them."""
    loop, micro_batch = config.loop, config.loop.micro_batch(config.engine.accumulation)
    autoencoder = VidTwin.from_config_fields(config.model)
    if config.init_from:
        start_from(autoencoder, config.init_from)
    model, twin = ScaledAutoencoder(autoencoder), copy.deepcopy(autoencoder)
    engines = {"autoencoder": Engine(model, config.optimizer, config.engine, micro_batch, loop.steps)}
    ema = Averages(engines["autoencoder"], twin, loop, prefix="autoencoder.")
    if config.adversarial:
        engines["discriminator"] = Engine(
            PatchDiscriminator(), config.optimizer, config.engine, micro_batch, loop.steps
        )
    objective = Objective(
        config.loss, engines["autoencoder"], engines.get("discriminator"), perceptual_loss(config, distributed.device())
    )
    speed = Speed(training_flops(config.model), config.engine.dtype)
    return Session("stage1", run, loop, engines, ema, speed, file_of=str), objective


def perceptual_loss(config: Stage1Config, device: torch.device) -> LPIPS | None:
    """LPIPS as the loss has it: its features in the run's precision, compiled where the model is."""
    if not config.loss.perceptual:
        return None
    network = LPIPS(config.engine.dtype).to(device=device, memory_format=torch.channels_last)  # as tensor cores want it
    if config.engine.compiles(device):
        network.distance.compile()
    return network


def start_from(autoencoder: VidTwin, source: str) -> None:
    notes = warm_start(autoencoder, source)
    if distributed.is_main():
        print("\n".join([f"starting from the weights in {source}", *notes]), flush=True)


def training_step(
    config: Stage1Config, session: Session[str], objective: Objective, batches: Iterator[dict[str, Tensor]]
) -> tuple[dict[str, Tensor], list[str]]:
    """One optimizer step of each engine: the terms of its last micro-batch, unread, and the files it saw."""
    engine, files = session.engines["autoencoder"], []
    for micro_step in range(config.engine.accumulation):
        batch = next(batches)
        files += batch["name"]
        session.seed(micro_step)
        video = to_float(batch["video"].to(engine.device, non_blocking=True))
        reconstruction, target, terms = objective.micro_step(video, session.step, sample=config.sample_posterior)
        session.skipped_files |= skipped_files(batch)
    session.ema.update()
    if config.loop.due(session.step + 1, config.loop.log_every):
        terms["psnr"] = psnr(reconstruction.float(), target).mean()
    return terms, files


@torch.inference_mode()
def validate(config: Stage1Config, session: Session, model: VidTwin, held_out: DataLoader) -> None:
    """PSNR and SSIM of the averaged weights on held-out clips, with panels and histograms of the first of them.

    Left unfinished when the run is asked to stop.
    """
    sums, batches = torch.zeros(3, device=distributed.device()), iter(held_out)
    for number in range(distributed.greatest(len(held_out))):
        if session.stop.agreed():
            return
        if (batch := next(batches, None)) is None:
            continue
        video = to_float(batch["video"].to(sums.device))
        latents, reconstruction = reconstruct(model, video, config.engine.dtype)
        qualities = [measure(reconstruction, video).mean(1).sum() for measure in (psnr, ssim)]
        sums += torch.stack([*qualities, sums.new_tensor(len(video))])
        if number == 0 and distributed.is_main():
            save_panels(config, session, model, video[:1])
            for name, values in latents._asdict().items():
                session.tracker.histogram(session.step, f"latents/{name}", values)
    total_psnr, total_ssim, count = distributed.mean_over_ranks(sums)
    quality = total_psnr / count
    session.validated({"validation/psnr": quality, "validation/ssim": total_ssim / count}, float(quality))


def reconstruct(model: VidTwin, video: Tensor, dtype: torch.dtype) -> tuple[TwinLatents, Tensor]:
    """Latents and reconstruction by float32 weights, computed in `dtype`."""
    with computing_in(dtype, video.device):
        latents = model.encode(video).mode()
        return latents, model.decode(latents).float().clamp(-1, 1)


def save_panels(config: Stage1Config, session: Session, model: VidTwin, video: Tensor) -> None:
    with computing_in(config.engine.dtype, video.device):
        frames = to_uint8(four_panels(model, video)[0]).permute(1, 2, 3, 0)
    session.run.videos.mkdir(exist_ok=True)
    write_video(session.run.videos / f"step_{session.step:08}.mp4", frames, config.data.fps)
    session.tracker.video(session.step, "original, reconstruction, structure, dynamics", frames, config.data.fps)


def finish(config: Stage1Config, session: Session) -> None:
    raw = ScaledAutoencoder(VidTwin.from_config_fields(config.model)).eval()
    load_raw_weights(raw, session.engines["autoencoder"].master_weights())
    with session.ema.whole() as averaged:
        save_both(session.run.weights, averaged, raw.autoencoder)
    session.close()


def dry_run(config: Stage1Config) -> str:
    model, (d, q, hs, ws), (dd, t, s) = config.model, config.model.structure_shape, config.model.dynamics_shape
    with torch.device("meta"):
        parameters = sum(p.numel() for p in VidTwin.from_config_fields(model).parameters())
    size = f"{model.latent_values} values, {model.rate:.4%} of the pixels"
    latents = f"latents: structure {d}x{q}x{hs}x{ws}, dynamics {dd}x{t}x{s}: {size}"
    plan = describe_plan("VidTwin", parameters, config.engine, config.loop, memory_plan(config))
    return f"{plan}\n{latents}"


@script
def main(argv: list[str]) -> None:
    run_or_plan(Stage1Config, argv, "Train a VidTwin (stage one).", train, dry_run)


if __name__ == "__main__":
    sys.exit(main())
