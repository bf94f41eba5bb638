"""Encode a data set once: the twin latents of every clip, for stage two.

`python -m autoencoder.cache --run runs/NAME` encodes what the run was trained on, split by split, to
`runs/NAME/latents/<split>`.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from autoencoder.model import VidTwin
from autoencoder.train import Stage1Config, indexed
from data.clips import ClipDataset
from data.config import DataConfig
from data.latents import CachePlan, LatentCache, LatentWriter
from data.video import to_float
from runtime import distributed
from runtime.config import load, parse
from runtime.errors import Preempted, UserError
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
        clips_per_video: 1 takes the window in the middle; more take windows and flips at random, as training does.
        batch_size: clips in one forward pass.
        shard_size: clips in a file.
        workers: decoding processes for each encoding process.
    """

    run: str = "runs/stage1"
    weights: str = ""
    splits: list[str] = field(default_factory=lambda: ["train", "test"])
    clips_per_video: int = 1
    batch_size: int = 16
    shard_size: int = 512
    workers: int = 4


@torch.inference_mode()
def encode_split(model: VidTwin, clips: ClipDataset, writer: LatentWriter, workers: int, stop: StopRequest) -> None:
    """Encode this process's share of the shards that are not there yet; at most one is lost when asked to stop."""
    device = next(model.parameters()).device
    missing = writer.missing(distributed.rank(), distributed.world_size())
    total = sum(len(writer.plan.shard_clips(k)) for k in missing)
    progress = Progress(f"caching {writer.plan.split}", total, "clips", show=distributed.is_main())
    batches = iter(load_batches(clips, writer.plan, missing, workers))
    for shard in missing:
        rows: list[dict[str, Tensor]] = []
        while sum(len(row["label"]) for row in rows) < len(writer.plan.shard_clips(shard)):
            if stop.number:
                raise Preempted(stop.number, f"shard {shard}")
            batch = next(batches)
            rows.append(encode_batch(model, batch, device))
            progress.advance(len(batch["label"]))
        writer.write(shard, {name: torch.cat([row[name] for row in rows]) for name in rows[0]})


def load_batches(clips: ClipDataset, plan: CachePlan, shards: list[int], workers: int) -> DataLoader:
    """Batches of the shards' clips in order; none crosses a shard's end."""

    def batches() -> Iterator[list[tuple[int, int]]]:
        for shard in shards:
            items = [(c % plan.clips_per_video, c // plan.clips_per_video) for c in plan.shard_clips(shard)]
            for start in range(0, len(items), plan.batch_size):
                yield items[start : start + plan.batch_size]

    return DataLoader(clips, batch_sampler=list(batches()), num_workers=0 if clips.in_memory else workers)


def encode_batch(model: VidTwin, batch: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """One row a clip: posterior mean and log-variance of both latents, and where the clip came from."""
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
    """Write, or complete, or verify the cache of one split; returns its folder."""
    data: DataConfig = stage1.data
    index = indexed(stage1, split)
    plan = CachePlan(
        autoencoder=weights_hash(model),
        autoencoder_config=plain_config(model),
        split=split,
        names=index.names,
        classes=index.classes,
        clips_per_video=config.clips_per_video,
        fps=data.fps,
        shard_size=config.shard_size,
        batch_size=config.batch_size,
    )
    folder = Path(config.run) / "latents" / split
    if distributed.is_main():
        LatentWriter(folder, plan)
    distributed.barrier()
    writer = LatentWriter(folder, plan)
    if distributed.agree(bool(writer.missing(distributed.rank(), distributed.world_size()))):
        size = (model.config.height, model.config.width)
        clips = ClipDataset(
            index, model.config.frames, data.fps, size, stage1.loop.seed, config.clips_per_video > 1, data.in_memory
        )
        with StopRequest() as stop:
            encode_split(model, clips, writer, config.workers, stop)
    distributed.barrier()
    if distributed.is_main():
        if not (folder / "manifest.json").exists():
            writer.finish()
        LatentCache(folder).verify()
    distributed.barrier()
    return folder


def plain_config(model: VidTwin) -> dict[str, object]:
    """The model's fields as they are saved, without what diffusers adds."""
    return {name: value for name, value in model.config.items() if not name.startswith("_")}


@script
def main(argv: list[str]) -> None:
    config, _ = parse(CacheConfig, argv, "Encode a data set into a cache of twin latents.")
    if not (Path(config.run) / "config.yaml").is_file():
        raise UserError(f"{config.run} is no stage-one run (no config.yaml); train one first: make stage1")
    stage1 = load(Stage1Config, Path(config.run) / "config.yaml")
    with distributed.processes():
        model = load_model(VidTwin, config.weights or Path(config.run) / "weights" / "ema").to(distributed.device())
        for split in config.splits:
            folder = cache_split(config, stage1, model, split)
            if distributed.is_main():
                print(f"{folder}: {len(LatentCache(folder))} clips, verified", flush=True)


if __name__ == "__main__":
    sys.exit(main())
