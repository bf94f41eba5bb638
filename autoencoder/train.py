"""Stage one: train a VidTwin.

`python -m autoencoder.train --config configs/stage1/base.yaml --data.root DIR --run runs/NAME`
"""

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from autoencoder.config import VidTwinConfig
from autoencoder.discriminator import PatchDiscriminator
from autoencoder.losses import LossConfig
from autoencoder.model import VidTwin
from autoencoder.objective import Objective, ScaledAutoencoder
from autoencoder.panels import four_panels
from autoencoder.perceptual import require_vgg
from data.clips import ClipDataset, skipped_files
from data.config import DataConfig
from data.index import VideoIndex, open_index
from data.loader import eval_loader, train_loader
from data.pixels import psnr, ssim
from data.video import to_float, to_uint8, write_video
from runtime import distributed
from runtime.ema import EMA
from runtime.engine import Engine, EngineConfig, OptimizerConfig
from runtime.loop import LoopConfig, Session, describe_plan, load_raw_weights, run_or_plan, save_both
from runtime.run import RunFolder
from runtime.script import script


@dataclass(frozen=True)
class ValidationConfig:
    """What is measured on held-out videos.

    Attributes:
        clips: at most so many, spread evenly over the videos.
        batch_size: clips a forward pass.
    """

    clips: int = 256
    batch_size: int = 8


@dataclass(frozen=True)
class Stage1Config:
    """Everything that makes a stage-one run what it is.

    Attributes:
        run: the run's folder.
        sample_posterior: reconstruct from a posterior sample (the paper's); otherwise from its mean.
    """

    run: str = "runs/stage1"
    model: VidTwinConfig = VidTwinConfig()
    data: DataConfig = DataConfig()
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    engine: EngineConfig = EngineConfig()
    loop: LoopConfig = LoopConfig()
    validation: ValidationConfig = ValidationConfig()
    sample_posterior: bool = True


def train(config: Stage1Config) -> None:
    """Train to the end, from the newest checkpoint if there is one."""
    if config.loss.perceptual:
        require_vgg()
    with RunFolder(config.run) as run:
        run.describe(config)
        run_loop(config, run)


def run_loop(config: Stage1Config, run: RunFolder) -> None:
    dataset, held_out = open_clips(config, "train"), validation_clips(config)
    torch.manual_seed(config.loop.seed)
    session, objective = build(config, run)
    batches = training_batches(config, dataset, session.step)
    while session.step < config.loop.steps:
        terms = training_step(config, session, objective, batches)
        session.step += 1
        if config.loop.due(session.step, config.loop.log_every):
            session.log(terms | session.engine_state())
        if config.loop.due(session.step, config.loop.validate_every):
            session.log(validate(config, session, held_out))
        session.advance()
        if config.loop.due(session.step, config.loop.save_every):
            session.save()
    finish(config, session)


def open_clips(config: Stage1Config, split: str) -> ClipDataset:
    index = open_index(config.data.root, split, config.data.fold)
    report_bad(index, split)
    model, data = config.model, config.data
    size = (model.height, model.width)
    return ClipDataset(index, model.frames, data.fps, size, config.loop.seed, split == "train", data.in_memory)


def report_bad(index: VideoIndex, split: str) -> None:
    if index.bad and distributed.is_main():
        names = ", ".join(f"{name} ({reason})" for name, reason in index.bad[:5])
        print(
            f"{split}: {len(index.bad)} of {len(index.bad) + len(index.videos)} files are left out: {names}", flush=True
        )


def validation_clips(config: Stage1Config) -> DataLoader:
    dataset = open_clips(config, "test")
    stride = max(len(dataset) // config.validation.clips, 1)
    chosen = range(0, len(dataset), stride)[: config.validation.clips]
    return eval_loader(dataset, config.validation.batch_size, distributed.rank(), distributed.world_size(), chosen)


def build(config: Stage1Config, run: RunFolder) -> tuple[Session, Objective]:
    """Both engines, resumed, and the objective that joins them."""
    loop, micro_batch = config.loop, config.loop.micro_batch(config.engine.accumulation)
    model = ScaledAutoencoder(VidTwin.from_config_fields(config.model))
    ema = EMA(model.autoencoder, loop.ema_decay)
    ema.model.to(distributed.device())
    engines = {"autoencoder": Engine(model, config.optimizer, config.engine, micro_batch, loop.steps)}
    if config.loss.adversarial and config.loss.disc_start < loop.steps:
        engines["discriminator"] = Engine(
            PatchDiscriminator(), config.optimizer, config.engine, micro_batch, loop.steps
        )
    objective = Objective(config.loss, model, engines.get("discriminator"))
    return Session(run, loop, engines, ema, "stage1"), objective


def training_batches(config: Stage1Config, dataset: ClipDataset, start_step: int) -> Iterator[dict[str, Tensor]]:
    return iter(
        train_loader(
            dataset,
            batch_size=config.loop.batch_size,
            rank=distributed.rank(),
            world=distributed.world_size(),
            accumulation=config.engine.accumulation,
            start_step=start_step,
            seed=config.loop.seed,
            workers=config.data.workers,
        )
    )


def training_step(
    config: Stage1Config, session: Session, objective: Objective, batches: Iterator[dict[str, Tensor]]
) -> dict[str, Tensor]:
    """One optimizer step of each engine; returns the terms of its last micro-batch, unread."""
    engine = session.engines["autoencoder"]
    for micro_step in range(config.engine.accumulation):
        batch = next(batches)
        session.seed(micro_step)
        video = to_float(batch["video"].to(engine.device, non_blocking=True)).to(config.engine.dtype)
        reconstruction, posterior, log_scale = engine(video, sample=config.sample_posterior)
        carrier, terms = objective.autoencoder_loss(video, reconstruction, posterior, log_scale, session.step)
        engine.backward(carrier)
        engine.step()
        if objective.adversarial(session.step):
            loss, discriminator_terms = objective.discriminator_loss(video, reconstruction)
            session.engines["discriminator"].backward(loss)
            session.engines["discriminator"].step()
            terms |= discriminator_terms
        session.skipped |= skipped_files(batch)
    session.ema.update(
        (name.removeprefix("autoencoder."), weight) for name, weight in engine.master_weights() if name != "log_scale"
    )
    terms["psnr"] = psnr(reconstruction.detach().float(), video.float()).mean()
    return terms


@torch.inference_mode()
def validate(config: Stage1Config, session: Session, held_out: DataLoader) -> dict[str, Tensor]:
    """PSNR and SSIM of the averaged weights on held-out clips, and a four-panel video of the first of them."""
    model, sums = session.ema.model, torch.zeros(3, device=distributed.device())
    device = sums.device
    precision = torch.autocast(device.type, torch.bfloat16) if config.engine.precision == "bf16" else nullcontext()
    for number, batch in enumerate(held_out):
        video = to_float(batch["video"].to(device))
        with precision:
            reconstruction = model.decode(model.encode(video).mode()).float().clamp(-1, 1)
        sums += torch.stack(
            [
                psnr(reconstruction, video).mean(1).sum(),
                ssim(reconstruction, video).mean(1).sum(),
                sums.new_tensor(len(video)),
            ]
        )
        if number == 0 and distributed.is_main():
            save_panels(config, session, video[:1])
    total_psnr, total_ssim, count = distributed.mean_over_ranks(sums)
    return {"validation/psnr": total_psnr / count, "validation/ssim": total_ssim / count}


def save_panels(config: Stage1Config, session: Session, video: Tensor) -> None:
    frames = to_uint8(four_panels(session.ema.model, video)[0]).permute(1, 2, 3, 0)
    session.run.videos.mkdir(exist_ok=True)
    write_video(session.run.videos / f"step_{session.step:08}.mp4", frames, config.data.fps)
    session.tracker.video(session.step, "original, reconstruction, structure, dynamics", frames, config.data.fps)


def finish(config: Stage1Config, session: Session) -> None:
    raw = load_raw_weights(
        session.engines["autoencoder"], "autoencoder.", VidTwin.from_config_fields(config.model).eval()
    )
    save_both(session.run.weights, session.ema.model, raw)
    session.close()


def dry_run(config: Stage1Config) -> str:
    model, (d, q, hs, ws), (dd, t, s) = config.model, config.model.structure_shape, config.model.dynamics_shape
    with torch.device("meta"):
        parameters = sum(p.numel() for p in VidTwin.from_config_fields(model).parameters())
    values = d * q * hs * ws + dd * t * s
    rate = values / (3 * model.frames * model.height * model.width)
    latents = f"latents: structure {d}x{q}x{hs}x{ws}, dynamics {dd}x{t}x{s}: {values} values, {rate:.4%} of the pixels"
    return f"{describe_plan('VidTwin', parameters, config.engine, config.loop)}\n{latents}"


@script
def main(argv: list[str]) -> None:
    run_or_plan(Stage1Config, argv, "Train a VidTwin (stage one).", train, dry_run)


if __name__ == "__main__":
    sys.exit(main())
