"""Writes a latent cache, shard by shard, from any number of processes."""

import json
from pathlib import Path

from safetensors import safe_open
from torch import Tensor

from data.latents.channel_statistics import MOMENTS, RunningStatistics, channel_sums, rounding
from data.latents.plan import DTYPES, MANIFEST, PLAN, VIDEOS, CachePlan, VideoTable, shard_path
from data.latents.shard import Layout, checksum_line, is_whole, one_line_when_full, write_shard
from data.latents.twins import TwinLatents
from runtime.errors import UserError
from runtime.files import sha256, write_whole

SUMMARY = (*(f"{latent}_sums" for latent in TwinLatents._fields), "rounding")


class LatentWriter:
    """Writes the shards of a plan into a folder; those that stand there undamaged are kept.

    A shard's content depends on the plan alone, a process writes whole shards, and a batch never crosses one: neither
    the number of processes nor an interruption changes a byte.

    Raises `UserError` when the folder holds latents of another plan, naming what differs.
    """

    def __init__(self, folder: Path, plan: CachePlan, videos: VideoTable) -> None:
        assert plan.videos == videos.sha256()
        self.folder, self.plan = folder, plan
        with one_line_when_full(folder):
            folder.mkdir(parents=True, exist_ok=True)
            if (folder / PLAN).exists():
                self._require_same_plan()
            if not (folder / VIDEOS).exists() or sha256(folder / VIDEOS) != plan.videos:
                write_whole(folder / VIDEOS, videos.text().encode())
            if not (folder / PLAN).exists():
                write_whole(folder / PLAN, as_json(plan.content()))

    def _require_same_plan(self) -> None:
        try:
            # A plan that does not say what its moments were computed in is from when that was always fp32.
            found = {"compute": "fp32"} | json.loads((self.folder / PLAN).read_text())
        except ValueError as error:
            raise UserError(f"{self.folder / PLAN} is damaged; remove {self.folder} and encode again") from error
        wanted = self.plan.content()
        for key in wanted:
            if found.get(key) != wanted[key]:
                short = [str(each.get(key))[:40] for each in (found, wanted)]
                raise UserError(
                    f"{self.folder} holds latents of another {key} ({short[0]}, not {short[1]}); remove it or choose "
                    "another place"
                )

    def missing(self, rank: int, world: int) -> list[int]:
        """The shards this process has to write: those of its share that are not there, or damaged."""
        return [k for k in range(rank, self.plan.shards, world) if not is_whole(self.folder, k)]

    def reopen(self) -> None:
        """The cache is not complete any more: some shard is to be written."""
        (self.folder / MANIFEST).unlink(missing_ok=True)

    def write(self, shard: int, tensors: dict[str, Tensor]) -> None:
        """A shard of fp32 moments, `label`, `video` and `first_frame`, stored in the plan's precision.

        With the moments go their `channel_sums` and what rounding them has changed.
        """
        assert all(len(each) == len(self.plan.shard_clips(shard)) for each in tensors.values())
        dtype = DTYPES[self.plan.precision]
        stored = tensors | {name: tensors[name].to(dtype) for name in MOMENTS}
        summary = channel_sums(stored) | {"rounding": rounding(tensors, stored)}
        if not all(each.isfinite().all() for each in summary.values()):
            raise UserError(f"shard {shard} holds latents that are not finite once they are {self.plan.precision}")
        write_shard(self.folder, shard, stored | summary)

    def finish(self) -> None:
        """Write the manifest, the mark of a complete cache."""
        statistics, checksums = RunningStatistics(), {}
        for k in range(self.plan.shards):
            path = shard_path(self.folder, k)
            with safe_open(path, "pt") as shard:
                summary = {name: shard.get_tensor(name) for name in SUMMARY}
            statistics.add(len(self.plan.shard_clips(k)), summary)
            checksums[path.name] = checksum_line(self.folder, k).split()[0]
        fields = Layout.read(shard_path(self.folder, 0)).fields
        shapes = {name: fields[name].shape for name in MOMENTS}
        manifest = self.plan.content() | {
            "shapes": shapes,
            "statistics": {latent: statistics.of(latent, shapes[f"{latent}_mean"]) for latent in TwinLatents._fields},
            "rounding": statistics.errors(shapes),
            "shards": checksums,
        }
        with one_line_when_full(self.folder):
            write_whole(self.folder / MANIFEST, as_json(manifest))


def as_json(content: dict[str, object]) -> bytes:
    return (json.dumps(content, indent=1) + "\n").encode()
