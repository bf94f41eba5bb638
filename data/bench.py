"""How fast clips are loaded, against the bare decoder on the same files.

    python -m data.bench DIR --workers 0 2 --json bench.json
    python -m data.bench --latents [DIR] --sizes 1k 10k

The loading path decodes, resizes, crops, flips and collates; the bare decoder decodes the same frames and drops them.
The second form measures the reading of cached latents (see `data.latents.bench`).
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import islice, product
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch.utils.data import Dataset

from data.clips import ClipDataset, as_clip
from data.index import open_index
from data.latents.bench import SIZES, as_figures, latent_table, measure_latents
from data.loader import PREFETCH, train_loader
from data.shards.files import is_packed
from data.video.backends import Backend, available
from data.video.frames import read_frames
from runtime.errors import UserError
from runtime.files import write_json
from runtime.options import OptionParser
from runtime.script import script


@dataclass(frozen=True)
class Row:
    """Clips a second, of the decoder alone and of the whole path."""

    backend: Backend
    threads: int
    workers: int
    prefetch: int
    decoder: float
    path: float

    @property
    def kept(self) -> float:
        """The share of the decoder's rate that the path keeps."""
        return self.path / self.decoder


class BareDecoder(Dataset):
    """The frames that `clips` would take, decoded at their own size and dropped."""

    in_memory = False
    clip_bytes = 0  # none of them leaves its worker

    def __init__(self, clips: ClipDataset) -> None:
        self.clips = clips

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, item: tuple[int, int]) -> dict[str, torch.Tensor]:
        epoch, i = item
        indices, _, _ = self.clips.window(epoch, i)
        with self.clips.index.file(i) as info:
            frames = read_frames(info, indices.tolist(), None, self.clips.backend, self.clips.threads)
        return {"video": as_clip(frames[:0], flip=False)}


def measure(clips: ClipDataset, count: int, batch_size: int, workers: int, prefetch: int, rounds: int = 3) -> Row:
    """The best of some rounds of `count` clips each, decoder and path in turn, so that both meet the same machine."""
    settings = {"rank": 0, "world": 1, "accumulation": 1, "start_step": 0, "seed": clips.seed}
    streams = [
        iter(train_loader(dataset, batch_size, workers=workers, prefetch=prefetch, **settings))
        for dataset in (BareDecoder(clips), clips)
    ]
    batches = -(-count // batch_size)
    for stream in streams:
        _seconds(stream, batches, workers, prefetch)
    seconds = [[_seconds(stream, batches, workers, prefetch) for stream in streams] for _ in range(rounds)]
    decoder, path = (batches * batch_size / min(each) for each in zip(*seconds, strict=True))
    return Row(clips.backend, clips.threads, workers, prefetch, decoder, path)


def _seconds(stream: Iterable, batches: int, workers: int, prefetch: int) -> float:
    """Time for some batches, after those that lie ready; then waits until as many lie ready again.

    So the workers of another stream find the machine idle, and those of this one are all at the start of a batch.
    """
    for _ in islice(stream, workers * prefetch + workers):
        pass
    started = time.perf_counter()
    for _ in islice(stream, batches):
        pass
    seconds = time.perf_counter() - started
    time.sleep(1.5 * seconds / batches * workers * prefetch)
    return seconds


def table(rows: list[Row]) -> Table:
    drawn = Table("backend", "threads", "workers", "prefetch", "decoder, clips/s", "path, clips/s", "kept")
    for row in rows:
        figures = f"{row.decoder:.1f}", f"{row.path:.1f}", f"{row.kept:.0%}"
        drawn.add_row(
            row.backend, str(row.threads), str(row.workers), str(row.prefetch if row.workers else "-"), *figures
        )
    return drawn


def parser() -> OptionParser:
    made = OptionParser(prog="data.bench", description="Clips a second of the loading path, or of latents.")
    made.add_argument("root", type=Path, nargs="?", metavar="DIR", help="UCF-101, or any folder of videos")
    made.add_argument("--backends", nargs="+", choices=available(), default=available())
    made.add_argument("--threads", nargs="+", type=int, default=[1], metavar="N", help="that decode one video")
    made.add_argument("--workers", nargs="+", type=int, default=[0, 1, 2], metavar="N")
    made.add_argument("--prefetch", nargs="+", type=int, default=[PREFETCH], metavar="N")
    made.add_argument("--clips", type=int, default=160, metavar="N", help="in each of three rounds")
    made.add_argument("--batch_size", type=int, default=8, metavar="N")
    made.add_argument("--frames", type=int, default=16, metavar="N")
    made.add_argument("--fps", type=float, default=8.0)
    made.add_argument("--size", type=int, nargs=2, default=(224, 224), metavar=("H", "W"))
    made.add_argument(
        "--latents",
        type=Path,
        nargs="?",
        const=Path(tempfile.gettempdir()),
        metavar="DIR",
        help="measure cached latents instead; they are written to DIR for as long",
    )
    made.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES), help="of the latents, in clips")
    made.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    return made


@script
def main(argv: list[str]) -> None:
    args = parser().parse_args(argv)
    if bool(args.root) == bool(args.latents):
        raise UserError("give either DIR, a folder of videos, or --latents")
    if (
        min(*args.threads, *args.prefetch, args.clips, args.batch_size, args.frames, *args.size) < 1
        or min(args.workers) < 0
    ):
        raise UserError("counts and sizes must be at least 1, workers at least 0")
    if args.latents:
        rows = measure_latents(args.sizes, args.latents)
        drawn, figures = latent_table(rows), as_figures(rows)
    else:
        rows = measure_loading(args)
        drawn, figures = table(rows), [{**asdict(row), "kept": row.kept} for row in rows]
    Console().print(drawn)
    if args.json:
        write_json(args.json, figures)


def measure_loading(args: argparse.Namespace) -> list[Row]:
    torch.set_num_threads(1)  # as in a worker, so that their number alone is compared
    if is_packed(args.root):
        raise UserError(f"{args.root} holds shards; give the folder of videos that they were packed from")
    index, rows = open_index(args.root, "train"), []
    settings = {"frames": args.frames, "fps": args.fps, "size": tuple(args.size), "seed": 0}
    for backend, threads in product(args.backends, args.threads):
        clips = ClipDataset(index, **settings, train=True, in_memory=False, backend=backend, threads=threads)
        for workers in args.workers:
            for prefetch in args.prefetch if workers else args.prefetch[:1]:
                rows.append(measure(clips, args.clips, args.batch_size, workers, prefetch))
    return rows


if __name__ == "__main__":
    sys.exit(main())
