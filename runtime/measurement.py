"""A measured row: how fast something ran, and how near that is to what the machine could do."""

import multiprocessing
import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from typing import TypeVar

import torch

from runtime.flops import matmul_rate, timed
from runtime.memory import peak_memory

WARM_UP = 2
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Measurement:
    """One row: what was run, how long it took, and what that is of what the machine could do.

    Attributes:
        seconds: median of the repeats, for a batch.
        flops: of a batch, recomputed activations not counted.
        matmul_rate: FLOP/s of a large matrix product in the same precision.
        peak_memory: bytes, of the process on a CPU, of the allocator on a GPU.
    """

    what: str
    batch: int
    seconds: float
    flops: int
    matmul_rate: float
    peak_memory: int

    @classmethod
    def of(
        cls, what: str, run: Callable[[], object], batch: int, flops: int, repeats: int, dtype: torch.dtype
    ) -> "Measurement":
        """Run it on this process's device, after `WARM_UP` times; `flops` are those of one clip."""
        from runtime import distributed

        device = distributed.device()
        for _ in range(WARM_UP):
            run()
        seconds = statistics.median(timed(run, device) for _ in range(repeats))
        memory = peak_memory(device)
        return cls(what, batch, seconds, batch * flops, matmul_rate(device, dtype), memory)

    @property
    def clips_per_second(self) -> float:
        return self.batch / self.seconds

    @property
    def flop_rate(self) -> float:
        return self.flops / self.seconds

    @property
    def share(self) -> float:
        """Of the matrix rate."""
        return self.flop_rate / self.matmul_rate

    def figures(self) -> dict[str, str | int | float]:
        """All of it by name, what is derived included, for a JSON file."""
        derived = ("clips_per_second", "flop_rate", "share")
        return asdict(self) | {name: getattr(self, name) for name in derived}


def apart(measure: Callable[..., Answer], *args: object) -> Answer:
    """What `measure(*args)` gives, in a process of its own, so that its peak memory is its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(measure, *args).result()


def print_table(rows: Sequence[Measurement], title: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("", title=title)
    for heading in ("seconds", "clips/s", "TFLOP", "TFLOP/s", "of matmul rate", "peak memory"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            row.what,
            f"{row.seconds:.3g}",
            f"{row.clips_per_second:.3g}",
            f"{row.flops / 1e12:.3g}",
            f"{row.flop_rate / 1e12:.3g}",
            f"{row.share:.0%}",
            f"{row.peak_memory / 1e9:.2f} GB",
        )
    Console().print(table)
