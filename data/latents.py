"""Cached latents, read by clip straight from the files: memory-mapped, in any order, at a cost that no size changes.

python -m data.latents info DIR        what a cache holds
python -m data.latents verify DIR      find damaged shards; the next caching run writes these again
"""

import argparse
import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data.latent_plan import MANIFEST, PLAN, SCHEMA, VIDEOS, VideoTable, shard_path
from data.latent_shard import Field, Layout
from data.latent_statistics import MOMENTS
from data.mapped import MappedFiles
from data.twins import TwinLatents
from runtime.errors import UserError
from runtime.files import sha256
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
        self.fields, self.last_fields = first.fields, last.fields
        self.files = MappedFiles(path_of, self.last + 1, first.size, last.size)
        self.flat = {
            field.dtype: self.files.bytes.view(field.dtype) for field in map(self.fields.get, (*MOMENTS, *PLACES))
        }

    def __len__(self) -> int:
        return self.manifest["clips"]

    def __getitem__(self, clip: int) -> dict[str, Tensor]:
        """All that is stored of a clip: views of the files, not to be written to."""
        _, starts = self._find(np.array([clip]), (*MOMENTS, *PLACES))
        return {name: self._view(field := self.fields[name], int(starts[name][0]), field.shape) for name in starts}

    def read(self, clips: Sequence[int] | Tensor, names: Sequence[str], pin: bool = False) -> dict[str, Tensor]:
        """The named tensors of these clips, stacked in their order; in pinned memory if asked.

        Raises `IndexError` for a clip that there is not.
        """
        count, starts = self._find(np.asarray(clips), names)
        stacked = {}
        for name, start in starts.items():
            field = self.fields[name]
            stacked[name] = torch.empty(count, *field.shape, dtype=field.dtype, pin_memory=pin)
            if field.values:
                rows = self._rows(field)
                torch.index_select(rows, 0, torch.from_numpy(start), out=stacked[name].view(count, field.values))
        return stacked

    def shard(self, number: int, names: Sequence[str]) -> dict[str, Tensor]:
        """The named tensors of a shard's clips: views of the file, not to be written to."""
        first = number * self.shard_size
        count = min(self.shard_size, len(self) - first)
        _, starts = self._find(np.array([first]), names)
        return {
            name: self._view(field := self.fields[name], int(starts[name][0]), (count, *field.shape)) for name in names
        }

    def load(self, names: Sequence[str] = (*MOMENTS, *PLACES), device: torch.device | str = "cpu") -> dict[str, Tensor]:
        """The named tensors of all clips, stacked, in the cache's precision: `{structure,dynamics}_{mean,logvar}`,
        `label`, `video`, `first_frame`.
        """
        fields = {name: self.fields[name] for name in names}
        whole = {name: torch.empty(len(self), *f.shape, dtype=f.dtype, device=device) for name, f in fields.items()}
        for number in range(self.last + 1):
            for name, part in self.shard(number, names).items():
                whole[name][number * self.shard_size :][: len(part)].copy_(part)
        return whole

    def bytes_of(self, names: Sequence[str]) -> int:
        """What the named tensors of all clips take."""
        return len(self) * sum(self.fields[name].values * self.fields[name].dtype.itemsize for name in names)

    def _find(self, clips: np.ndarray, names: Sequence[str]) -> tuple[int, dict[str, np.ndarray]]:
        """How many clips, and where in `flat` each of them begins, for each name; their shards are mapped."""
        if len(clips) and not (clips.min() >= 0 and clips.max() < len(self)):
            raise IndexError(f"{self.folder} holds clips 0 to {len(self) - 1}")
        shards, rows = np.divmod(clips, self.shard_size)
        self.files.require(shards)
        in_last = shards == self.last
        starts = {}
        for name in names:
            field, size = self.fields[name], self.fields[name].dtype.itemsize
            shift = self.last_fields[name].start - field.start  # a shorter shard is laid out closer
            starts[name] = (shards * self.files.stride + field.start + in_last * shift) // size + rows * field.values
        return len(clips), starts

    def _view(self, field: Field, start: int, shape: tuple[int, ...]) -> Tensor:
        return self.flat[field.dtype][start : start + prod(shape)].view(shape)

    def _rows(self, field: Field) -> Tensor:
        """`flat` as overlapping rows of a clip's values: row k begins at value k."""
        flat = self.flat[field.dtype]
        return flat.as_strided((len(flat) - field.values + 1, field.values), (1, 1))

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
    values = sum(cache.fields[f"{latent}_mean"].values for latent in TwinLatents._fields)
    size = cache.last * cache.files.sizes[0] + cache.files.sizes[1]
    geometry = m["autoencoder_config"]
    lines = [
        f"{len(cache)} clips of split {m['split']}: {windows} of each video{', and mirrored' * m['flipped']}",
        f"clips: {geometry['frames']}x{geometry['height']}x{geometry['width']} at {m['fps']:g} fps, "
        f"{len(m['classes'])} classes",
        f"structure {cache.structure_shape}, dynamics {cache.dynamics_shape}: {values} values a clip",
        f"autoencoder {m['autoencoder'][:12]}",
        f"{cache.last + 1} shards of {cache.shard_size} clips, encoded {m['batch_size']} at a time; "
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
    parser = argparse.ArgumentParser(prog="data.latents", description="Look at a cache of latents, or check it.")
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
