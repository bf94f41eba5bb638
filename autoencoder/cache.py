"""Encode a data set once: the twin latents of every clip, for stage two.

    python -m autoencoder.cache --run runs/NAME
    python -m autoencoder.cache show runs/NAME/latents/train --weights runs/NAME/weights/ema --num 16

The first encodes what the run was trained on, split by split, to `runs/NAME/latents/<split>`, goes on where it was
interrupted, and writes damaged shards again. The second decodes some of its clips beside their originals.
"""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from autoencoder.model import VidTwin
from autoencoder.stage1.clips import indexed
from autoencoder.stage1.config import Stage1Config
from autoencoder.trained.show_cache import show
from data.clips import UnreadableFile
from data.config import Workers, worker_count
from data.index import VideoIndex
from data.latents.cache import LatentCache, describe_rounding
from data.latents.clips import ChosenClips, ClipChoice
from data.latents.plan import CachePlan, Precision, VideoTable
from data.latents.writer import LatentWriter
from data.loader import clip_loader
from data.video.frames import to_float
from runtime import distributed
from runtime.config import load, parse
from runtime.errors import Preempted, UserError
from runtime.lock import lock
from runtime.precision import DTYPES, Use, computing_in, full_precision, precision_of_use
from runtime.preemption import StopRequest
from runtime.progress import Progress
from runtime.script import script
from runtime.weights import load_model, weights_hash


@dataclass(frozen=True)
class CacheConfig:
    """What is encoded, by which weights.

    Attributes:
        run: a stage-one run; the cache goes to its `latents/<split>`.
        weights: the autoencoder's folder; empty for the run's averaged weights.
        splits: of the data set that the run was trained on.
        clips_per_video: 1 takes the window in the middle; more take windows at random; `all` takes every window.
        flipped: follow every clip by its mirror image; without, random windows are flipped at random, as in training.
        precision: in which the posterior's moments are stored.
        compute: in which the encoder computes them; `auto`: bf16 on a GPU, fp32 on a CPU.
        batch_size: clips in one forward pass.
        shard_size: clips in a file.
        workers: decoding processes for each encoding process; `auto` takes one for each of its cores, at most 4.
    """

    run: str = "runs/stage1"
    weights: str = ""
    splits: list[str] = field(default_factory=lambda: ["train", "test"])
    clips_per_video: int | Literal["all"] = 1
    flipped: bool = False
    precision: Precision = "fp32"
    compute: Use = "auto"
    batch_size: int = 16
    shard_size: int = 512
    workers: Workers = "auto"

    def __post_init__(self) -> None:
        least = {"clips_per_video": 1, "batch_size": 1, "shard_size": 1, "workers": 0}
        for name, lowest in least.items():
            if getattr(self, name) not in ("all", "auto") and getattr(self, name) < lowest:
                raise UserError(f"--{name} must be at least {lowest}")


@full_precision()
@torch.inference_mode()
def encode_shards(
    model: VidTwin, clips: ChosenClips, writer: LatentWriter, videos: VideoTable, missing: list[int], workers: int
) -> None:
    """Encode these shards; at most one is lost when asked to stop.

    A file that turned bad since it was indexed ends the run: a clip of another in its place would be a silent error,
    and a cache without it would depend on the moment at which it turned bad.
    """
    device = next(model.parameters()).device
    total = sum(len(writer.plan.shard_clips(k)) for k in missing)
    progress = Progress(f"caching {writer.plan.split}", total, "clips", show=distributed.is_main())
    batches = iter(load_batches(clips, writer.plan, videos, missing, workers))
    with StopRequest() as stop:
        for shard in missing:
            rows: list[dict[str, Tensor]] = []
            while sum(len(row["label"]) for row in rows) < len(writer.plan.shard_clips(shard)):
                if stop.number:
                    raise Preempted(stop.number, f"shard {shard}")
                batch = next(batches)
                rows.append(encode_batch(model, batch, device, DTYPES[writer.plan.compute]))
                progress.advance(len(batch["label"]))
            writer.write(shard, {name: torch.cat([row[name] for row in rows]) for name in rows[0]})


def load_batches(
    clips: ChosenClips, plan: CachePlan, videos: VideoTable, shards: list[int], workers: int
) -> DataLoader:
    """Batches of the shards' clips in order; none crosses a shard's end."""

    def batches() -> Iterator[list[tuple[int, int]]]:
        for shard in shards:
            items = [videos.place(clip) for clip in plan.shard_clips(shard)]
            for start in range(0, len(items), plan.batch_size):
                yield items[start : start + plan.batch_size]

    return clip_loader(clips, list(batches()), plan.batch_size, workers)


def encode_batch(
    model: VidTwin, batch: dict[str, Tensor], device: torch.device, dtype: torch.dtype
) -> dict[str, Tensor]:
    """One row a clip: fp32 mean and log-variance of both latents, computed in `dtype`, and where the clip came from."""
    with computing_in(dtype, device):
        posterior = model.encode(to_float(batch["video"].to(device)))
    return {
        "structure_mean": posterior.mean.structure.float().cpu(),
        "structure_logvar": posterior.logvar.structure.float().cpu(),
        "dynamics_mean": posterior.mean.dynamics.float().cpu(),
        "dynamics_logvar": posterior.logvar.dynamics.float().cpu(),
        "label": batch["label"],
        "video": batch["video_index"],
        "first_frame": batch["first_frame"],
    }


def cache_split(config: CacheConfig, stage1: Stage1Config, model: VidTwin, split: str) -> Path:
    """Write, or complete, or verify the cache of one split; returns its folder. All processes call it."""
    index = indexed(stage1.of_own_data, split)
    choice = ClipChoice(model.config.frames, stage1.data.fps, config.clips_per_video, config.flipped, stage1.loop.seed)
    videos = choice.table(index)
    plan = plan_cache(config, choice, model, index, videos, split)
    folder = Path(config.run) / "latents" / split
    folder.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        if distributed.is_main():
            held.enter_context(lock(folder.with_name(f".{split}.lock")))
        writer = distributed.on_main(lambda: LatentWriter(folder, plan, videos))
        missing = writer.missing(distributed.rank(), distributed.world_size())
        if distributed.agree(bool(missing)):
            distributed.on_main(writer.reopen)
            size = (model.config.height, model.config.width)
            clips = ChosenClips(index, choice, size, stage1.data.in_memory, stage1.data.decoder_threads)
            encode_or_explain(model, clips, writer, videos, missing, worker_count(config.workers))
        distributed.barrier()
        distributed.on_main(writer.finish)
        distributed.on_main(LatentCache(folder).verify)
    return folder


def plan_cache(
    config: CacheConfig, choice: ClipChoice, model: VidTwin, index: VideoIndex, videos: VideoTable, split: str
) -> CachePlan:
    return CachePlan(
        autoencoder=weights_hash(model),
        autoencoder_config=plain_config(model),
        split=split,
        classes=index.classes,
        videos=videos.sha256(),
        clips=sum(videos.clips),
        clips_per_video=choice.clips_per_video,
        flipped=choice.flipped,
        seed=choice.seed,
        fps=choice.fps,
        precision=config.precision,
        compute=precision_of_use(config.compute, next(model.parameters()).device),
        shard_size=config.shard_size,
        batch_size=config.batch_size,
    )


def encode_or_explain(
    model: VidTwin, clips: ChosenClips, writer: LatentWriter, videos: VideoTable, missing: list[int], workers: int
) -> None:
    try:
        encode_shards(model, clips, writer, videos, missing, workers)
    except UnreadableFile as error:
        raise UserError(
            f"{error}; put it back and give the same command again (what is encoded stays), or remove it and "
            f"{writer.folder}"
        ) from error


def plain_config(model: VidTwin) -> dict[str, object]:
    """The model's fields as they are saved, without what diffusers adds."""
    return {name: value for name, value in model.config.items() if not name.startswith("_")}


def report(folder: Path) -> None:
    cache = LatentCache(folder)
    print("\n".join([f"{folder}: {len(cache)} clips, verified", *describe_rounding(cache.manifest)]), flush=True)


@script
def main(argv: list[str]) -> None:
    if argv[:1] == ["show"]:
        show(argv[1:])
        return
    config, _ = parse(CacheConfig, argv, "Encode a data set into a cache of twin latents.")
    if not (Path(config.run) / "config.yaml").is_file():
        raise UserError(f"{config.run} is no stage-one run (no config.yaml); train one first: make stage1")
    stage1 = load(Stage1Config, Path(config.run) / "config.yaml")
    with distributed.processes():
        model = load_model(VidTwin, config.weights or Path(config.run) / "weights" / "ema").to(distributed.device())
        for split in config.splits:
            folder = cache_split(config, stage1, model, split)
            if distributed.is_main():
                report(folder)


if __name__ == "__main__":
    sys.exit(main())
