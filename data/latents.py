"""The seam of the project: the two latents of a clip, as encoded, cached, generated and decoded.

A cache is a folder of safetensors shards and a manifest. Shard k holds clips [kS, (k+1)S) of the data set's order;
a process takes whole shards and a batch never crosses one, so neither the number of processes nor an interruption
changes a byte.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import NamedTuple

import torch
from einops import reduce
from safetensors.torch import load_file
from torch import Tensor

from runtime.errors import UserError
from runtime.files import save_tensors, sha256, write_json

MANIFEST = "manifest.json"
PLAN = "plan.json"
SCHEMA = 1


class TwinLatents(NamedTuple):
    """The twin latents of `b` clips (paper, section 3).

    Shapes
        structure: `b d_S n_q h_S w_S`, one map for each structure query
        dynamics:  `b d_D t (w_D + h_D)`, one row for each frame, the width part first
    """

    structure: Tensor
    dynamics: Tensor

    def to(self, *args: object, **kwargs: object) -> "TwinLatents":
        """Both latents moved or cast as by `torch.Tensor.to`."""
        return TwinLatents(self.structure.to(*args, **kwargs), self.dynamics.to(*args, **kwargs))


@dataclass(frozen=True)
class CachePlan:
    """What a cache will hold, settled before its first shard. Shards of another plan are never mixed in.

    Attributes:
        autoencoder: hash of the weights that encode.
        autoencoder_config: the model's fields.
        split: `train` or `test`.
        names: files, relative to the data set; a clip's `video` indexes them.
        classes: class names; empty for an unlabelled set.
        clips: how many clips, `clips_per_video` for each file.
        fps: rate of their frames.
        shard_size, batch_size: clips in a shard, and in one forward pass of the encoder.
    """

    autoencoder: str
    autoencoder_config: dict
    split: str
    names: tuple[str, ...]
    classes: tuple[str, ...]
    clips_per_video: int
    fps: float
    shard_size: int
    batch_size: int

    @property
    def clips(self) -> int:
        return len(self.names) * self.clips_per_video

    @property
    def shards(self) -> int:
        return -(-self.clips // self.shard_size)

    def shard_clips(self, shard: int) -> range:
        """The clips of a shard, by their place in the cache."""
        return range(shard * self.shard_size, min((shard + 1) * self.shard_size, self.clips))


class LatentWriter:
    """Writes the shards of a plan into a folder; those that stand there already are kept.

    Raises `UserError` when the folder holds shards of another plan, naming what differs.
    """

    def __init__(self, folder: Path, plan: CachePlan) -> None:
        self.folder, self.plan = folder, plan
        folder.mkdir(parents=True, exist_ok=True)
        wanted, path = json.loads(json.dumps({"schema": SCHEMA, **asdict(plan)})), folder / PLAN
        if path.exists():
            found = json.loads(path.read_text())
            differing = sorted(key for key in wanted if found.get(key) != wanted[key])
            if differing:
                raise UserError(f"{folder} holds latents of another {differing[0]}; remove it or choose another place")
        else:
            write_json(path, wanted)

    def missing(self, rank: int, world: int) -> list[int]:
        """The shards this process still has to write."""
        return [k for k in range(rank, self.plan.shards, world) if not self.path(k).exists()]

    def path(self, shard: int) -> Path:
        return self.folder / f"shard_{shard:05}.safetensors"

    def write(self, shard: int, tensors: dict[str, Tensor]) -> None:
        """A whole shard, beside its place and then into it."""
        assert all(len(each) == len(self.plan.shard_clips(shard)) for each in tensors.values())
        save_tensors(self.path(shard), {name: each.contiguous() for name, each in tensors.items()})

    def finish(self) -> None:
        """Check every shard and write the manifest, the mark of a complete cache."""
        checksums = {}
        statistics = RunningStatistics()
        for k in range(self.plan.shards):
            tensors = load_file(self.path(k))
            statistics.update(tensors)
            checksums[self.path(k).name] = sha256(self.path(k))
            shapes = {name: list(each.shape[1:]) for name, each in tensors.items()}
        manifest = json.loads((self.folder / PLAN).read_text())
        manifest |= {"clips": self.plan.clips, "shapes": shapes, "statistics": statistics.result(), "shards": checksums}
        write_json(self.folder / MANIFEST, manifest)


class RunningStatistics:
    """Per-channel moments of both latents in one float64 pass, over all other axes."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def update(self, tensors: dict[str, Tensor]) -> None:
        for latent in TwinLatents._fields:
            mean, variance = tensors[f"{latent}_mean"].double(), tensors[f"{latent}_logvar"].double().exp()
            moments = torch.stack([reduce(each, "n d ... -> d", "sum") for each in (mean, mean.square(), variance)])
            self.sums[latent] = self.sums.get(latent, 0) + moments
            self.counts[latent] = self.counts.get(latent, 0) + len(mean) * prod(mean.shape[2:])

    def result(self) -> dict[str, dict[str, list[float]]]:
        """For each latent: `mean`, `std` of the posterior means, `std_sample` with E[σ²] added."""
        return {latent: self.of(latent) for latent in self.sums}

    def of(self, latent: str) -> dict[str, list[float]]:
        mean, square, noise = self.sums[latent] / self.counts[latent]
        variance = (square - mean.square()).clamp(min=0)
        return {
            "mean": mean.tolist(),
            "std": variance.sqrt().tolist(),
            "std_sample": (variance + noise).sqrt().tolist(),
        }


class LatentCache:
    """A complete cache, read shard by shard.

    Raises `UserError` when the folder holds none, or one that is not finished.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / MANIFEST).is_file():
            what = (
                "an unfinished latent cache; run the same caching command again"
                if (self.folder / PLAN).is_file()
                else "no latent cache; stage one writes it to runs/<run>/latents/<split>"
            )
            raise UserError(f"{self.folder} holds {what}")
        self.manifest = json.loads((self.folder / MANIFEST).read_text())

    def __len__(self) -> int:
        return self.manifest["clips"]

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.manifest["classes"])

    @property
    def clip_names(self) -> list[str]:
        """The file that each clip was taken from."""
        return [name for name in self.manifest["names"] for _ in range(self.manifest["clips_per_video"])]

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

    def load(self) -> dict[str, Tensor]:
        """All clips, stacked: `{structure,dynamics}_{mean,logvar}`, `label`, `video`, `first_frame`."""
        shards = list(self.shards())
        return {name: torch.cat([shard[name] for shard in shards]) for name in shards[0]}

    def shards(self) -> Iterator[dict[str, Tensor]]:
        for name in self.manifest["shards"]:
            yield load_file(self.folder / name)

    def verify(self) -> None:
        """Raises `UserError` that names the first damaged shard."""
        for name, checksum in self.manifest["shards"].items():
            path = self.folder / name
            if not path.is_file() or sha256(path) != checksum:
                raise UserError(f"{path} is missing or damaged; remove it and {MANIFEST}, then run the caching again")

    def require_autoencoder(self, weights_hash: str) -> None:
        """Raises `UserError` when these latents come from other weights."""
        if self.manifest["autoencoder"] != weights_hash:
            raise UserError(
                f"{self.folder} was encoded by autoencoder {self.manifest['autoencoder'][:12]}, not by "
                f"{weights_hash[:12]}; encode it again or give the autoencoder that wrote it"
            )
