"""The clips that a stage-one run sees."""

from collections.abc import Callable
from pathlib import Path

from torch.utils.data import DataLoader

from autoencoder.stage1.config import Stage1Config
from data.clips import ClipDataset
from data.config import Split, worker_count
from data.index import VideoIndex, join, open_index
from data.loader import eval_loader, train_loader
from data.shards.clips import ShardedClips, shard_loader
from data.shards.files import is_packed, read_list
from runtime import distributed
from runtime.errors import UserError


def training_clips(config: Stage1Config) -> Callable[[int], DataLoader]:
    """This process's micro-batches from a step on: of videos in any order, or of shards read one after the other."""
    data, workers = config.data, worker_count(config.data.workers)
    packed = is_packed(data.root)
    if config.loss.exchange and packed:
        raise UserError("--loss.exchange pairs videos of one scene, which shards hold apart; give a folder of videos")
    if packed and not data.also and not data.in_memory:
        sharded, accumulation = sharded_clips(config), config.engine.accumulation
        return lambda step: shard_loader(sharded.after(step * accumulation), workers, data.prefetch)
    clips = open_clips(config, "train")
    return lambda step: train_loader(
        clips,
        batch_size=config.loop.batch_size,
        rank=distributed.rank(),
        world=distributed.world_size(),
        accumulation=config.engine.accumulation,
        start_step=step,
        seed=config.loop.seed,
        workers=workers,
        prefetch=data.prefetch,
        paired=config.loss.exchange > 0,
    )


def sharded_clips(config: Stage1Config) -> ShardedClips:
    model, data = config.model, config.data
    return ShardedClips(
        distributed.on_main(lambda: read_list(Path(data.root), "train")),
        model.frames,
        data.fps,
        (model.height, model.width),
        config.loop.seed,
        batch_size=config.loop.micro_batch(config.engine.accumulation),
        rank=distributed.rank(),
        world=distributed.world_size(),
        on_bad_file=data.on_bad_file,
        threads=data.decoder_threads,
    )


def open_clips(config: Stage1Config, split: Split) -> ClipDataset:
    index = indexed(config, split)
    model, data = config.model, config.data
    return ClipDataset(
        index,
        model.frames,
        data.fps,
        (model.height, model.width),
        config.loop.seed,
        train=split == "train",
        in_memory=data.in_memory,
        on_bad_file=data.on_bad_file,
        threads=data.decoder_threads,
    )


def indexed(config: Stage1Config, split: Split) -> VideoIndex:
    """A split's index, which the main process makes, keeps in the run's folder, and reports on."""
    data = config.data

    def look() -> VideoIndex:
        roots = (data.root, *data.also) if split == "train" else (data.root,)
        first, *others = (open_index(root, split, data.fold, Path(config.run), data.on_bad_file) for root in roots)
        return join(first, others, data.also_times) if others else first

    index = distributed.on_main(look)
    if distributed.is_main() and (report := index.report()):
        print(report, flush=True)
    return index


def validation_clips(config: Stage1Config) -> DataLoader:
    dataset = open_clips(config, "test")
    chosen = dataset.index.sample(config.validation.clips)
    return eval_loader(dataset, config.validation.batch_size, distributed.rank(), distributed.world_size(), chosen)
