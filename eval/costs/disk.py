"""What a project leaves on disk."""

import tempfile
from pathlib import Path

import torch

from autoencoder.cache import CacheConfig
from autoencoder.config import VidTwinConfig
from data.latents.cache import PLACES
from data.latents.channel_statistics import MOMENTS, channel_sums, rounding
from data.latents.plan import DTYPES
from data.latents.shard import write_shard
from runtime.engine.config import EngineConfig
from runtime.training import snapshots
from runtime.training.loop import LoopConfig, checkpoint_bytes


def cache_bytes(model: VidTwinConfig, cache: CacheConfig, clips: int) -> int:
    """Of the shards of so many clips, with their checksums: a full one and the last are written, of zeros, and weighed.

    The manifest and the list of videos, some hundred bytes a video, are left out.
    """
    full, rest = divmod(clips, cache.shard_size)
    counted = {cache.shard_size: full, rest: 1}
    return sum(number * shard_bytes(model, cache, each) for each, number in counted.items() if each and number)


def shard_bytes(model: VidTwinConfig, cache: CacheConfig, clips: int) -> int:
    shapes = (model.structure_shape, model.structure_shape, model.dynamics_shape, model.dynamics_shape)
    moments = {name: torch.zeros(clips, *shape) for name, shape in zip(MOMENTS, shapes, strict=True)}
    stored = {name: each.to(DTYPES[cache.precision]) for name, each in moments.items()}
    summary = channel_sums(stored) | {"rounding": rounding(moments, stored)}
    places = {name: torch.zeros(clips, dtype=torch.int64) for name in PLACES}
    with tempfile.TemporaryDirectory() as folder:
        write_shard(Path(folder), 0, stored | places | summary)
        return sum(file.stat().st_size for file in Path(folder).iterdir())


def run_bytes(parameters: int, averaged: int, engine: EngineConfig, loop: LoopConfig) -> dict[str, int]:
    """Of a run at most: checkpoints of all `parameters`, and weights and snapshots of those that are `averaged`.

    Weights are the averaged and the raw ones, in float32.
    """
    one = checkpoint_bytes(parameters, engine, loop.averages)
    return {
        "checkpoint": one,
        "checkpoints": one * loop.most_checkpoints,
        "weights": 2 * averaged * torch.float32.itemsize,
        "snapshots": loop.snapshots * snapshots.ELEMENT * averaged,
    }
