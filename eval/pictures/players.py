"""Short videos for the report's players: each by itself, without a word drawn into it."""

from dataclasses import dataclass
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor

from autoencoder.model import VidTwin
from data.clips import ClipDataset
from data.video.frames import fit, write_video
from eval.pictures.panels import enlarged, four_views, shown_clips, swap
from runtime.files import write_json

COLUMNS, ROWS = 4, 2  # of a class's samples
MOST_CLASSES = 12
LARGEST_TILE = 112  # pixels; of larger samples smaller copies are shown


@dataclass(frozen=True)
class Samples:
    """Generated videos, uint8 `n t h w c`, the class that was asked for of each, if known, and what names them all."""

    videos: Tensor
    classes: tuple[str, ...]
    digest: str


@torch.inference_mode()
def write_players(model: VidTwin, test: ClipDataset, samples: Samples | None, out: Path) -> None:
    """`players.json` and the videos it names: test clips in their parts, swaps, and samples of each class."""
    out.mkdir(exist_ok=True)
    video, classes = shown_clips(model, test)
    donors = [*classes[1:], classes[0]]
    parts = write_each(enlarged(four_views(model, video)), "parts", out, test.fps)
    swaps = write_each(enlarged(swap(model, video)), "swap", out, test.fps)
    content = {
        "fps": test.fps,
        "parts": [{"file": file, "class": name} for file, name in zip(parts, classes, strict=True)],
        "swaps": [
            {"file": file, "structure": structure, "dynamics": dynamics}
            for file, structure, dynamics in zip(swaps, classes, donors, strict=True)
        ],
        "samples": write_samples(samples, test.fps, out) if samples else [],
        "sampled_classes": len(set(samples.classes)) if samples else 0,
    }
    write_json(out / "players.json", content)


def write_each(videos: Tensor, name: str, out: Path, fps: float) -> list[str]:
    """Files of videos `n t h w c`, in their order."""
    files = [f"{name}-{i:02}.mp4" for i in range(len(videos))]
    for file, video in zip(files, videos, strict=True):
        write_video(out / file, video, fps)
    return files


def write_samples(samples: Samples, fps: float, out: Path) -> list[dict[str, str | int]]:
    """One video for each class, of the first samples of it; of many classes some, spread evenly."""
    classes = samples.classes or ("",) * len(samples.videos)
    names = list(dict.fromkeys(classes))
    names = names[:: -(-len(names) // MOST_CLASSES)]
    written = []
    for number, name in enumerate(names):
        own = [place for place, each in enumerate(classes) if each == name]
        file = f"samples-{number:02}.mp4"
        write_video(out / file, tiled(samples.videos[own[: COLUMNS * ROWS]]), fps)
        written.append({"file": file, "class": name, "made": len(own)})
    return written


def tiled(videos: Tensor) -> Tensor:
    """At most eight `n t h w c` side by side, `t H W c`; missing ones are black."""
    n, _, h, w, _ = videos.shape
    if max(h, w) > LARGEST_TILE:
        scale = LARGEST_TILE / max(h, w)
        videos = torch.stack([fit(video, (round(h * scale), round(w * scale))) for video in videos])
    else:
        videos = enlarged(rearrange(videos, "n t h w c -> n c t h w"))
    blank = torch.zeros_like(videos[:1]).expand(-n % COLUMNS, -1, -1, -1, -1)
    return rearrange(torch.cat([videos, blank]), "(r k) t h w c -> t (r h) (k w) c", k=COLUMNS)
