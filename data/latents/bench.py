"""How fast cached latents are read, against the same bytes gathered from one plain memory-mapped file.

The plain file holds the rows of all clips one after the other, and `numpy.take` copies the same rows into the same
buffers; a cache has to find them in its shards. Files are sparse: of latents only the pages that hold headers take
disk, while reading goes through the page cache as ever.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from rich.table import Table

from data.latents.cache import PLACES, LatentCache
from data.latents.channel_statistics import MOMENTS
from data.latents.plan import MANIFEST, CachePlan, VideoTable, shard_path
from data.latents.shard import Layout
from data.latents.twins import TwinLatents
from data.latents.writer import LatentWriter
from runtime.files import write_json
from runtime.memory import process_memory
from runtime.random import generator

SHARD_SIZE, BATCH, BATCHES, ROUNDS, OPENINGS = 512, 256, 64, 7, 5
NOBODY, PLAIN = "0" * 64, "plain"
MEANS = tuple(f"{latent}_mean" for latent in TwinLatents._fields)


@dataclass(frozen=True)
class Size:
    """A cache to measure: its clips and their latents' shapes."""

    clips: int
    structure: tuple[int, int, int, int]
    dynamics: tuple[int, int, int]


RELEASED = Size(0, (8, 16, 7, 7), (8, 16, 14))
SMALL = Size(0, (4, 6, 4, 4), (4, 4, 8))  # 512 values
SIZES = {
    "1k": replace(RELEASED, clips=1_000),
    "10k": replace(RELEASED, clips=10_000),
    "100k": replace(RELEASED, clips=100_000),
    "1m-small": replace(SMALL, clips=1_000_000),
}


@dataclass(frozen=True)
class LatentRow:
    """One size, measured.

    Attributes:
        open_seconds: median, from the folder's name to the first clip.
        anonymous: bytes of memory that opening and reading have added and that no file stands behind.
        plain, cache: clips a second.
    """

    name: str
    clips: int
    open_seconds: float
    anonymous: int
    plain: float
    cache: float

    @property
    def kept(self) -> float:
        """The share of the plain file's rate that the cache keeps."""
        return self.cache / self.plain


def measure_latents(names: list[str], folder: Path | None) -> list[LatentRow]:
    """Every size in a folder of its own below `folder`, removed afterwards, and in a process of its own."""
    rows = []
    for name in names:
        with tempfile.TemporaryDirectory(dir=folder) as place, get_context("spawn").Pool(1) as process:
            write_sparse_cache(Path(place), SIZES[name])
            rows.append(process.apply(measure_cache, (name, Path(place))))
    return rows


def write_sparse_cache(folder: Path, size: Size) -> None:
    """A cache whose first and last shard hold random latents and the others nothing, beside `plain`."""
    videos = VideoTable((f"{size.clips}.avi",), (0,), (16,), (size.clips,))
    shard_size = min(SHARD_SIZE, size.clips)
    plan = CachePlan(
        autoencoder=NOBODY,
        autoencoder_config={},
        split="train",
        classes=("none",),
        videos=videos.sha256(),
        clips=size.clips,
        clips_per_video=size.clips,
        flipped=False,
        seed=0,
        fps=8.0,
        precision="fp32",
        shard_size=shard_size,
        batch_size=BATCH,
    )
    writer = LatentWriter(folder, plan, videos)
    for shard in {0, plan.shards - 1}:
        writer.write(shard, random_latents(size, len(plan.shard_clips(shard))))
    whole = shard_path(folder, 0)
    layout = Layout.read(whole)
    header = whole.read_bytes()[: min(field.start for field in layout.fields.values())]
    for shard in range(1, plan.shards - 1):
        with shard_path(folder, shard).open("wb") as file:
            file.write(header)
            file.truncate(layout.size)
    shapes = {name: layout.fields[name].shape for name in MOMENTS}
    checksums = {shard_path(folder, shard).name: NOBODY for shard in range(plan.shards)}
    write_json(folder / MANIFEST, plan.content() | {"shapes": shapes, "shards": checksums})
    with (folder / PLAIN).open("wb") as file:
        file.truncate(sum(size.clips * layout.fields[name].values * 4 for name in MEANS))


def random_latents(size: Size, clips: int) -> dict[str, torch.Tensor]:
    numbers = generator("latent bench", clips)
    shapes = zip(MOMENTS, (size.structure, size.structure, size.dynamics, size.dynamics), strict=True)
    moments = {name: torch.randn(clips, *shape, generator=numbers) for name, shape in shapes}
    return moments | {name: torch.zeros(clips, dtype=torch.int64) for name in PLACES}


def measure_cache(name: str, folder: Path) -> LatentRow:
    """One row, in a process that has read no cache before; both ways copy into buffers that stay."""
    torch.set_num_threads(1)  # numpy has one
    numbers = generator("latent bench", SIZES[name].clips)
    batches = [torch.randint(SIZES[name].clips, (BATCH,), generator=numbers) for _ in range(BATCHES)]
    buffers = LatentCache(folder).read(batches[0], MEANS)
    before = process_memory("RssAnon")
    opened = [seconds(lambda: LatentCache(folder)[0]) for _ in range(OPENINGS)]
    cache = LatentCache(folder)
    run_through(read_cached := partial(cache.read_into, out=buffers), batches)
    anonymous = process_memory("RssAnon") - before
    readers = PlainFile(cache).read, read_cached
    for read in readers:
        run_through(read, batches)
    rounds = [[seconds(partial(run_through, read, batches)) for read in readers] for _ in range(ROUNDS)]
    plain, ours = (BATCH * BATCHES / statistics.median(each) for each in zip(*rounds, strict=True))
    return LatentRow(name, len(cache), statistics.median(opened), anonymous, plain, ours)


class PlainFile:
    """The means of all clips as two arrays in one mapped file, gathered into buffers that stay."""

    def __init__(self, cache: LatentCache) -> None:
        self.rows, self.buffers, start = [], [], 0
        for name in MEANS:
            shape = (len(cache), cache.rows[name].values)
            rows = np.memmap(cache.folder / PLAIN, dtype=np.float32, mode="r", offset=start, shape=shape)
            self.rows.append(rows)
            self.buffers.append(np.empty((BATCH, shape[1]), dtype=np.float32))
            start += rows.nbytes

    def read(self, batch: torch.Tensor) -> None:
        for rows, buffer in zip(self.rows, self.buffers, strict=True):
            np.take(rows, batch.numpy(), axis=0, out=buffer, mode="clip")


def run_through(read: Callable[[torch.Tensor], object], batches: list[torch.Tensor]) -> None:
    for batch in batches:
        read(batch)


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def latent_table(rows: list[LatentRow]) -> Table:
    drawn = Table("size", "clips", "open, ms", "anonymous, MB", "plain mmap, clips/s", "cache, clips/s", "kept")
    for row in rows:
        figures = f"{1e3 * row.open_seconds:.1f}", f"{row.anonymous / 1e6:.1f}", f"{row.plain:.0f}", f"{row.cache:.0f}"
        drawn.add_row(row.name, str(row.clips), *figures, f"{row.kept:.0%}")
    return drawn


def as_figures(rows: list[LatentRow]) -> list[dict[str, object]]:
    return [{**asdict(row), "kept": row.kept} for row in rows]
