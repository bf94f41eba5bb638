"""A whole project: stage one, caching and stage two of two configurations, on a data set and machines."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from math import ceil

import torch

from autoencoder.cache import CacheConfig
from autoencoder.config import VidTwinConfig
from autoencoder.flops import inference_flops, training_flops
from autoencoder.losses.discriminator import PatchDiscriminator
from autoencoder.losses.flops import loss_flops
from autoencoder.model import VidTwin
from autoencoder.stage1.config import Stage1Config
from autoencoder.stage1.memory import memory_plan as stage1_memory
from data.config import MOST_WORKERS
from data.ucf101 import OFFICIAL_CLASSES
from eval.costs.dataset import DataSet
from eval.costs.disk import cache_bytes, run_bytes
from eval.costs.hardware import Cluster
from eval.costs.shares import Share
from eval.costs.stages import Source, Training, Work, caching_work, micro_batches_of, training_work
from generator.config import DiTConfig
from generator.dit import DiT
from generator.flops import training_flops as generator_flops
from generator.memory import memory_plan as stage2_memory
from generator.stage2 import Stage2Config
from runtime import distributed
from runtime.progress import Progress
from runtime.training.loop import LoopConfig
from runtime.training.memory_plan import MemoryPlan


@dataclass(frozen=True)
class Memory:
    """Bytes that a process of a stage needs at once, in so many micro-batches of so many clips."""

    needed: int
    micro_batches: int
    clips: int


@dataclass(frozen=True)
class Project:
    """Everything that is printed: time by part, memory by stage, bytes on disk by what they are."""

    works: tuple[Work, ...]
    memory: dict[str, Memory]
    disk: dict[str, float]

    @property
    def hours(self) -> float:
        return sum(work.hours for work in self.works)

    @property
    def gpu_hours(self) -> float:
        return sum(work.gpu_hours for work in self.works)


def plan_project(
    stage1: Stage1Config,
    stage2: Stage2Config,
    cache: CacheConfig,
    data: DataSet,
    cluster: Cluster,
    shares: Mapping[str, Share],
    decode_rate: float,
) -> Project:
    """`decode_rate`: clips a second of one decoding process. Raises `UserError` for what does not fit or divide."""
    videos = Source(data.video_bytes, decode_rate * MOST_WORKERS * cluster.gpus)
    cached = cache_bytes(stage1.model, cache, data.clips)
    latents = Source(cached / data.clips, None)
    progress = Progress("counting", 4, "parts")
    with distributed.as_one_of(cluster.gpus):
        first = stage_one(stage1)
        progress.advance(details="FLOPs of stage one")
        memory1 = settled("stage1", stage1_memory(stage1), stage1, cluster)
        progress.advance(details="memory of stage one")
        second = stage_two(stage2, stage1.model)
        progress.advance(details="FLOPs of stage two")
        memory2 = settled("stage2", generator_memory(stage2, stage1.model), stage2, cluster)
        progress.advance(details="memory of stage two")
    works = (
        training_work(first, cluster, shares["stage1"], videos, memory1.micro_batches),
        caching_work(data.clips, inference_flops(stage1.model)["encode"], cluster, shares["cache"], videos),
        training_work(second, cluster, shares["stage2"], latents, memory2.micro_batches),
    )
    memory = {"stage1": memory1, "stage2": memory2}
    return Project(works, memory, disk_of(stage1, stage2, data, cached))


def generator_memory(config: Stage2Config, autoencoder: VidTwinConfig) -> MemoryPlan:
    return stage2_memory(dit_config(config, autoencoder), config.diffusion, config.engine, config.loop)


def settled(name: str, memory: MemoryPlan, config: Stage1Config | Stage2Config, cluster: Cluster) -> Memory:
    number = micro_batches_of(name, memory, config.engine, cluster)
    clips = config.loop.micro_batch(number)
    return Memory(memory.needed(clips), number, clips)


def with_epochs(loop: LoopConfig, epochs: float | None, clips: int) -> LoopConfig:
    """As many steps as `epochs` over so many clips take; as it is without."""
    return loop if epochs is None else replace(loop, steps=ceil(epochs * clips / loop.batch_size))


def stage_one(config: Stage1Config) -> Training:
    """The discriminator is trained, and costs, from its first step on."""
    model, discriminator = parameters_of(config.model), discriminator_parameters(config)
    flops, shape = training_flops(config.model), config.model.video_shape
    perceptual = bool(config.loss.perceptual)
    without = loss_flops(shape, False, perceptual) if perceptual else 0
    late = max(1 - config.loss.disc_start / config.loop.steps, 0.0) if config.adversarial else 0.0
    adversarial = loss_flops(shape, True, False) if late else 0
    mean = flops + without + late * adversarial
    saved = run_bytes(model + discriminator, model, config.engine, config.loop)["checkpoint"]
    return Training("stage1", mean, model + discriminator, config.engine, config.loop, saved)


def stage_two(config: Stage2Config, autoencoder: VidTwinConfig) -> Training:
    fields = dit_config(config, autoencoder)
    parameters = dit_parameters(fields)
    saved = run_bytes(parameters, parameters, config.engine, config.loop)["checkpoint"]
    flops = generator_flops(fields, config.diffusion)
    return Training("stage2", flops, parameters, config.engine, config.loop, saved)


def dit_config(config: Stage2Config, autoencoder: VidTwinConfig) -> DiTConfig:
    """On the latents of an autoencoder, with as many classes as UCF-101."""
    shapes = {"structure_shape": autoencoder.structure_shape, "dynamics_shape": autoencoder.dynamics_shape}
    return DiTConfig.of(config.model, config.diffusion, **shapes, num_classes=OFFICIAL_CLASSES)


def disk_of(stage1: Stage1Config, stage2: Stage2Config, data: DataSet, cached: int) -> dict[str, float]:
    """Stage two's weights are pipelines, which hold the autoencoder again."""
    model, generator = parameters_of(stage1.model), dit_parameters(dit_config(stage2, stage1.model))
    first = run_bytes(model + discriminator_parameters(stage1), model, stage1.engine, stage1.loop)
    second = run_bytes(generator, generator, stage2.engine, stage2.loop)
    return {
        "videos": data.bytes,
        "latents": cached,
        "stage1 checkpoints": first["checkpoints"],
        "stage1 weights": first["weights"],
        "stage2 checkpoints": second["checkpoints"],
        "stage2 snapshots": second["snapshots"],
        "stage2 weights": second["weights"] + first["weights"],
    }


def parameters_of(config: VidTwinConfig) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in VidTwin.from_config_fields(config).parameters())


def discriminator_parameters(config: Stage1Config) -> int:
    if not config.adversarial:
        return 0
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in PatchDiscriminator().parameters())


def dit_parameters(config: DiTConfig) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in DiT(**asdict(config)).parameters())
