"""What a latent cache will hold, settled before its first shard is written.

A cache is a folder of

    videos.json                 names, labels and numbers of clips of the videos, in the data set's order
    plan.json                   the plan: hashes, geometry, which clips, how they are stored
    shard_00000.safetensors     clips [0, S), with shard_00000.sha256 beside it
    ...
    manifest.json               plan, statistics and checksums: the mark of a complete cache
"""

import hashlib
import json
from bisect import bisect_right
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Literal

import torch

from runtime.precision import Computed

VIDEOS, PLAN, MANIFEST = "videos.json", "plan.json", "manifest.json"
SCHEMA = 2

Precision = Literal["fp32", "fp16", "bf16"]
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class VideoTable:
    """The videos behind a cache's clips, which come video by video.

    Attributes:
        names: files, relative to the data set; a clip's `video` indexes them.
        labels: of the files.
        frames: that each file was found to have.
        clips: how many each gives.
    """

    names: tuple[str, ...]
    labels: tuple[int, ...]
    frames: tuple[int, ...]
    clips: tuple[int, ...]

    @classmethod
    def read(cls, path: Path) -> "VideoTable":
        return cls(**{name: tuple(values) for name, values in json.loads(path.read_text()).items()})

    def text(self) -> str:
        return json.dumps(asdict(self)) + "\n"

    def sha256(self) -> str:
        return hashlib.sha256(self.text().encode()).hexdigest()

    @cached_property
    def ends(self) -> list[int]:
        """The first clip behind each video's."""
        return list(accumulate(self.clips))

    def place(self, clip: int) -> tuple[int, int]:
        """The number of a clip among its video's, and the video."""
        video = bisect_right(self.ends, clip)
        return clip - self.ends[video] + self.clips[video], video


@dataclass(frozen=True)
class CachePlan:
    """Shards of another plan are never mixed in.

    Attributes:
        autoencoder: hash of the weights that encode.
        autoencoder_config: the model's fields, the clips' geometry among them.
        split: `train` or `test`.
        classes: class names; empty for an unlabelled set.
        videos: hash of the `VideoTable`.
        clips: how many clips.
        clips_per_video, flipped, seed, fps: which clips of a video (see `data.latents.clips.ClipChoice`).
        precision: how the moments are stored.
        shard_size, batch_size: clips in a shard, and in one forward pass of the encoder.
        compute: in which precision the encoder computed the moments.
    """

    autoencoder: str
    autoencoder_config: dict
    split: str
    classes: tuple[str, ...]
    videos: str
    clips: int
    clips_per_video: int | Literal["all"]
    flipped: bool
    seed: int
    fps: float
    precision: Precision
    shard_size: int
    batch_size: int
    compute: Computed = "fp32"

    @property
    def shards(self) -> int:
        return -(-self.clips // self.shard_size)

    def shard_clips(self, shard: int) -> range:
        """The clips of a shard, by their place in the cache."""
        return range(shard * self.shard_size, min((shard + 1) * self.shard_size, self.clips))

    def content(self) -> dict[str, object]:
        """As it is read back from JSON."""
        return json.loads(json.dumps({"schema": SCHEMA, **asdict(self)}))


def shard_path(folder: Path, shard: int) -> Path:
    return folder / f"shard_{shard:05}.safetensors"


def checksum_path(folder: Path, shard: int) -> Path:
    """In the form of `sha256sum`, which can check it."""
    return shard_path(folder, shard).with_suffix(".sha256")
