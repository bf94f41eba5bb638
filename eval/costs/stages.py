"""How long the parts of a project take: what the GPUs compute, what they send each other, what the data takes to come.

A step computes, then reduces its gradients, which this code does once the backward pass is over: the two add up. Data
is read and decoded meanwhile, and counts where it takes longer. Checkpoints are counted as if one machine wrote them
and all waited. Starting, compiling, validation and previews are not counted.
"""

from dataclasses import dataclass
from math import ceil

from eval.costs.hardware import Cluster
from eval.costs.shares import Share
from eval.costs.traffic import bytes_sent
from runtime.engine.config import EngineConfig
from runtime.errors import UserError
from runtime.training.loop import LoopConfig
from runtime.training.memory_plan import MemoryPlan, gigabytes, usable

RECOMPUTED = 4 / 3
"""A step with checkpointed activations runs the forward pass, a third of it, again."""


@dataclass(frozen=True)
class Source:
    """Where clips come from.

    Attributes:
        clip_bytes: that are read for one.
        decoded: clips a second that all processes decode; None for what needs no decoding.
    """

    clip_bytes: float
    decoded: float | None

    def seconds(self, clips: float, cluster: Cluster) -> float:
        """Until so many are there."""
        read = clips * self.clip_bytes / (cluster.machines * cluster.disk)
        return max(read, clips / self.decoded if self.decoded else 0.0)


@dataclass(frozen=True)
class Work:
    """A part of a project.

    Attributes:
        clips: that it goes through in all.
        flops: of one clip, the mean.
        compute, communication, data, checkpoints: hours; data is what it takes to come, behind the others or not.
        sent: bytes that a process sends in a step.
        read: bytes a second that each machine reads.
    """

    name: str
    clips: int
    flops: float
    share: Share
    compute: float
    communication: float
    data: float
    checkpoints: float
    sent: int
    read: float
    gpus: int

    @property
    def hours(self) -> float:
        return max(self.compute + self.communication, self.data) + self.checkpoints

    @property
    def gpu_hours(self) -> float:
        return self.hours * self.gpus

    @property
    def clips_per_second(self) -> float:
        return self.clips / (3600 * self.hours)

    @property
    def efficiency(self) -> float:
        """The part of the time that the GPUs compute."""
        return self.compute / self.hours


@dataclass(frozen=True)
class Training:
    """What a stage's training is, whatever it runs on.

    Attributes:
        parameters: of all that is trained.
        checkpoint: bytes.
    """

    name: str
    flops: float
    parameters: int
    engine: EngineConfig
    loop: LoopConfig
    checkpoint: int


def training_work(training: Training, cluster: Cluster, share: Share, source: Source, micro_batches: int) -> Work:
    """As many steps as its loop has."""
    engine, loop = training.engine, training.loop
    clips = loop.steps * loop.batch_size
    flops = training.flops * (RECOMPUTED if engine.checkpoint_activations else 1)
    compute = clips * flops / (cluster.gpus * cluster.gpu.peak * share.value)
    sent = bytes_sent(training.parameters, engine, cluster.gpus, micro_batches)
    saves = ceil(loop.steps / loop.save_every) if loop.save_every else 1
    return work(
        training.name,
        clips,
        training.flops,
        share,
        cluster,
        source,
        compute=compute,
        communication=loop.steps * sent / cluster.ring,
        checkpoints=saves * training.checkpoint / cluster.disk,
        sent=sent,
    )


def caching_work(clips: int, flops: float, cluster: Cluster, share: Share, source: Source) -> Work:
    """Every clip once through the encoder; its latents are too few bytes to count beside the videos."""
    compute = clips * flops / (cluster.gpus * cluster.gpu.peak * share.value)
    return work("caching", clips, flops, share, cluster, source, compute=compute)


def work(
    name: str,
    clips: int,
    flops: float,
    share: Share,
    cluster: Cluster,
    source: Source,
    *,
    compute: float,
    communication: float = 0.0,
    checkpoints: float = 0.0,
    sent: int = 0,
) -> Work:
    """From seconds."""
    data = source.seconds(clips, cluster)
    moving = max(compute + communication, data)
    read = clips * source.clip_bytes / (moving * cluster.machines)
    hours = (each / 3600 for each in (compute, communication, data, checkpoints))
    return Work(name, clips, flops, share, *hours, sent=sent, read=read, gpus=cluster.gpus)


def micro_batches_of(name: str, memory: MemoryPlan, engine: EngineConfig, cluster: Cluster) -> int:
    """As a run would settle them. Raises `UserError` when the model does not fit."""
    budget = usable(cluster.gpu.memory)
    if engine.accumulation != "auto":
        chosen = engine.accumulation if memory.fits(engine.accumulation, budget) else None
    else:
        chosen = memory.fewest_micro_batches(budget)
    if chosen is None:
        raise UserError(
            f"{name} needs {gigabytes(memory.needed(1))} a process for one clip at a time, and {cluster.gpu.name} has "
            f"{gigabytes(budget)} to give; another --gpu, --{name}.engine.zero_stage 3 or "
            f"--{name}.engine.checkpoint_activations true may do"
        )
    return chosen
