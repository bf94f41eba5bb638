"""Cached latents, read by clip straight from the files: memory-mapped, in any order, at a cost that no size changes.

python -m data.latents info DIR        what a cache holds
python -m data.latents verify DIR      find damaged shards; the next caching run writes these again
"""

import json
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data.latents.channel_statistics import MOMENTS
from data.latents.mapped import MappedFiles
from data.latents.plan import MANIFEST, PLAN, SCHEMA, VIDEOS, VideoTable, shard_path
from data.latents.rows import Rows
from data.latents.shard import Layout
from data.latents.twins import TwinLatents
from runtime.errors import UserError
from runtime.files import sha256
from runtime.options import OptionParser
from runtime.script import script

__all__ = ["LatentCache", "TwinLatents"]

PLACES = ("label", "video", "first_frame")


class LatentCache:
    """A complete cache. `cache[i]` is clip i, without a copy; `read` gathers a batch.

    Opening reads the manifest and two shards' headers; a shard is mapped when a clip of it is first asked for. Of a
    cache's size in memory nothing is anonymous: all can be dropped and read again.

    Raises `UserError` when the folder holds none, or one that is not finished.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.manifest = {key: value for key, value in read_manifest(self.folder).items() if key != "shards"}
        self.shard_size = self.manifest["shard_size"]
        self.last = (len(self) - 1) // self.shard_size
        path_of = partial(shard_path, self.folder)
        first, last = (Layout.read(path_of(shard)) for shard in (0, self.last))
        self.files = MappedFiles(path_of, self.last + 1, first.size, last.size)
        self.rows = {
            name: Rows(self.files, first.fields[name], last.fields[name], self.shard_size)
            for name in (*MOMENTS, *PLACES)
        }

    def __len__(self) -> int:
        return self.manifest["clips"]

    def __getitem__(self, clip: int) -> dict[str, Tensor]:
        """All that is stored of a clip: views of the files, not to be written to."""
        starts = self._find(np.array([clip]), self.rows)
        return {name: self.rows[name].view(int(start[0])) for name, start in starts.items()}

    def read(self, clips: Sequence[int] | Tensor, names: Iterable[str], pin: bool = False) -> dict[str, Tensor]:
        """The named tensors of these clips, stacked in their order; in pinned memory if asked."""
        rows = {name: self.rows[name] for name in names}
        shapes = {name: (len(clips), *each.shape) for name, each in rows.items()}
        return self.read_into(
            clips, {name: torch.empty(shapes[name], dtype=rows[name].dtype, pin_memory=pin) for name in rows}
        )

    def read_into(self, clips: Sequence[int] | Tensor, out: dict[str, Tensor]) -> dict[str, Tensor]:
        """As `read`, into tensors that are there. Raises `IndexError` for a clip that there is not."""
        for name, starts in self._find(np.asarray(clips, dtype=np.int64), out).items():
            self.rows[name].gather(starts, out[name])
        return out

    def shard(self, number: int, names: Sequence[str]) -> dict[str, Tensor]:
        """The named tensors of a shard's clips: views of the file, not to be written to."""
        first = number * self.shard_size
        count = min(self.shard_size, len(self) - first)
        starts = self._find(np.array([first]), names)
        return {name: self.rows[name].view(int(start[0]), count) for name, start in starts.items()}

    def load(self, names: Sequence[str] = (*MOMENTS, *PLACES), device: torch.device | str = "cpu") -> dict[str, Tensor]:
        """The named tensors of all clips, stacked, in the cache's precision: `{structure,dynamics}_{mean,logvar}`,
        `label`, `video`, `first_frame`.
        """
        rows = {name: self.rows[name] for name in names}
        whole = {name: torch.empty(len(self), *r.shape, dtype=r.dtype, device=device) for name, r in rows.items()}
        for number in range(self.last + 1):
            for name, part in self.shard(number, names).items():
                whole[name][number * self.shard_size :][: len(part)].copy_(part)
        return whole

    def bytes_of(self, names: Sequence[str]) -> int:
        """What the named tensors of all clips take."""
        return len(self) * sum(self.rows[name].values * self.rows[name].dtype.itemsize for name in names)

    def _find(self, clips: np.ndarray, names: Iterable[str]) -> dict[str, np.ndarray]:
        """Where each of these clips begins, for each name; their shards are mapped."""
        highest = int(clips.view(np.uint64).max(initial=0))  # of which a negative number is one
        if highest >= len(self):
            raise IndexError(f"{self.folder} holds clips 0 to {len(self) - 1}")
        shards = clips // self.shard_size
        self.files.require(shards)
        in_last = shards == self.last if highest >= self.last * self.shard_size else None
        return {name: self.rows[name].starts(clips, shards, in_last) for name in names}

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.manifest["classes"])

    @property
    def clip_names(self) -> "ClipNames":
        """The file that each clip was taken from."""
        return ClipNames(self.folder / VIDEOS, len(self))

    @property
    def structure_shape(self) -> tuple[int, int, int, int]:
        return tuple(self.manifest["shapes"]["structure_mean"])

    @property
    def dynamics_shape(self) -> tuple[int, int, int]:
        return tuple(self.manifest["shapes"]["dynamics_mean"])

    def statistics(self, std_of: str) -> dict[str, Tensor]:
        """`structure_mean`, `structure_std`, `dynamics_mean`, `dynamics_std`; `std_of` is `mean` or `sample`."""
        key = {"mean": "std", "sample": "std_sample"}[std_of]
        found = self.manifest["statistics"]
        return {
            f"{latent}_{kind}": torch.tensor(found[latent][source])
            for latent in TwinLatents._fields
            for kind, source in (("mean", "mean"), ("std", key))
        }

    def verify(self) -> None:
        """Raises `UserError` that names the damaged files."""

        def whole(entry: tuple[str, str]) -> bool:
            path = self.folder / entry[0]
            return path.is_file() and sha256(path) == entry[1]

        checksums = {**read_manifest(self.folder)["shards"], VIDEOS: self.manifest["videos"]}
        with ThreadPoolExecutor() as pool:
            damaged = [
                name for name, good in zip(checksums, pool.map(whole, checksums.items()), strict=True) if not good
            ]
        if damaged:
            raise UserError(
                f"{self.folder}: missing or damaged: {', '.join(damaged)}; run the caching again (python -m "
                "autoencoder.cache --run ...): it writes these again and keeps the others"
            )

    def require_autoencoder(self, weights_hash: str) -> None:
        """Raises `UserError` when these latents come from other weights."""
        if self.manifest["autoencoder"] != weights_hash:
            raise UserError(
                f"{self.folder} was encoded by autoencoder {self.manifest['autoencoder'][:12]}, not by "
                f"{weights_hash[:12]}; encode it again or give the autoencoder that wrote it"
            )


class ClipNames(Sequence[str]):
    """The file behind each clip; the table of names is read when one is first asked for."""

    def __init__(self, path: Path, clips: int) -> None:
        self.path, self.clips = path, clips

    @cached_property
    def videos(self) -> VideoTable:
        return VideoTable.read(self.path)

    def __len__(self) -> int:
        return self.clips

    def __getitem__(self, clip: int) -> str:
        return self.videos.names[self.videos.place(range(self.clips)[clip])[1]]


def read_manifest(folder: Path) -> dict:
    """The manifest of a complete cache. Raises `UserError` when there is none."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
    except FileNotFoundError:
        what = (
            "an unfinished latent cache; run the same caching command again"
            if (folder / PLAN).is_file()
            else "no latent cache; stage one writes it to runs/<run>/latents/<split>"
        )
        raise UserError(f"{folder} holds {what}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{folder / MANIFEST} is damaged; run the caching again: it is then rewritten") from error
    if manifest.get("schema") != SCHEMA:
        raise UserError(f"{folder} holds latents of another schema ({manifest.get('schema')}, not {SCHEMA})")
    return manifest


def describe(cache: LatentCache) -> str:
    """What a cache holds, some lines."""
    m = cache.manifest
    windows = {1: "the middle window", "all": "all windows"}.get(
        m["clips_per_video"], f"{m['clips_per_video']} random windows (seed {m['seed']})"
    )
    values = sum(cache.rows[f"{latent}_mean"].values for latent in TwinLatents._fields)
    size = cache.last * cache.files.sizes[0] + cache.files.sizes[1]
    geometry = m["autoencoder_config"]
    lines = [
        f"{len(cache)} clips of split {m['split']}: {windows} of each video{', and mirrored' * m['flipped']}",
        f"clips: {geometry['frames']}x{geometry['height']}x{geometry['width']} at {m['fps']:g} fps, "
        f"{len(m['classes'])} classes",
        f"structure {cache.structure_shape}, dynamics {cache.dynamics_shape}: {values} values a clip",
        f"autoencoder {m['autoencoder'][:12]}",
        f"{cache.last + 1} shards of {cache.shard_size} clips, encoded {m['batch_size']} at a time in "
        f"{m.get('compute', 'fp32')}; "
        f"{size / 1e9:.3g} GB in {m['precision']}",
        *describe_rounding(m),
    ]
    for latent in TwinLatents._fields:
        for kind in ("mean", "std", "std_sample"):
            lines.append(f"{latent} {kind}: " + " ".join(f"{x:.3g}" for x in m["statistics"][latent][kind]))
    return "\n".join(lines)


def describe_rounding(manifest: dict) -> list[str]:
    """What the precision costs, a line for each moment; none for fp32."""
    if manifest["precision"] == "fp32":
        return []
    return [
        f"{name} in {manifest['precision']} against fp32: at most {error['max']:.2e} off, rms {error['rms']:.2e}"
        for name, error in manifest["rounding"].items()
    ]


@script
def main(argv: list[str]) -> None:
    parser = OptionParser(prog="data.latents", description="Look at a cache of latents, or check it.")
    parser.add_argument("command", choices=["info", "verify"])
    parser.add_argument("folder", type=Path, metavar="DIR", help="such as runs/demo/latents/train")
    args = parser.parse_args(argv)
    cache = LatentCache(args.folder)
    if args.command == "info":
        print(describe(cache))
    else:
        cache.verify()
        print(f"{args.folder}: {len(cache)} clips in {cache.last + 1} shards, all whole")


if __name__ == "__main__":
    sys.exit(main())
