"""What stands behind a plan: each figure that it rests on, and whether that was counted, measured, given or assumed."""

from collections.abc import Mapping
from dataclasses import dataclass

from data.config import MOST_WORKERS
from eval.costs.dataset import DataSet
from eval.costs.hardware import Cluster
from eval.costs.project import Project
from eval.costs.shares import Share


@dataclass(frozen=True)
class Basis:
    what: str
    value: str
    how: str


def bases(
    project: Project, data: DataSet, cluster: Cluster, shares: Mapping[str, Share], decode_rate: float
) -> list[Basis]:
    gpu, network = cluster.gpu, cluster.network * 8 / 1e9
    across = f"{network:g} Gbit/s a machine of {cluster.per_machine} GPUs" if cluster.machines > 1 else "not used"
    files = "measured in its folder" if data.measured else "given, or UCF-101's (docs/results.md)"
    flops = ", ".join(f"{work.name} {work.flops / 1e12:.3g} TFLOP a clip" for work in project.works)
    return [
        Basis("FLOPs", flops, "counted on meta tensors, loss networks included; elementwise work is not"),
        Basis("memory", " ".join(memory_of(project)), "traced on fake tensors; an eighth of a GPU stays free"),
        Basis("peak", f"{gpu.peak / 1e12:g} TFLOP/s, {gpu.memory / 1e9:g} GB", f"data sheet of {gpu.name}, dense bf16"),
        *(Basis(f"share of it, {part}", f"{share.value:.0%}", share.source) for part, share in shares.items()),
        Basis("bytes sent", "ring collectives of the ZeRO stage", "closed form, not overlapped with computing"),
        Basis("inside a machine", f"{gpu.link / 1e9:g} GB/s a GPU", "data sheet, all of it"),
        Basis("between machines", across, "given or assumed (--network), all of it"),
        Basis("disk", f"{cluster.disk / 1e9:g} GB/s a machine", "given or assumed (--disk)"),
        Basis("a video", f"{data.video_bytes / 1e6:.3g} MB, read whole for each clip", files),
        Basis(
            "decoding",
            f"{decode_rate:g} clips/s a process, {MOST_WORKERS} a GPU",
            "given, or measured on 2 cores (docs/results.md)",
        ),
        Basis("not counted", "starts, compiling, validation, previews, failures", ""),
    ]


def memory_of(project: Project) -> list[str]:
    return [
        f"{name}: {memory.needed / 1e9:.1f} GB in {memory.micro_batches} micro-batches of {memory.clips};"
        for name, memory in project.memory.items()
    ]
