"""The folder of samples that `generator.sample` writes: finished, and while it is being made."""

import json
import shutil
from contextlib import suppress
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from data.video.frames import write_video
from generator.grid import film_strips, labelled_grid
from runtime.random import seed_of
from runtime.tensors import save_tensors

SAMPLES = "samples.safetensors"
"""`videos n t h w c` (uint8), `structure` and `dynamics` (`n windows …`, as `decode` takes them), `labels n`."""
SETTINGS = "samples.json"
"""All that it takes to draw them again, and the names of the `videos`."""
GRID_VIDEOS = 64
PICTURE_VIDEOS = 20


def parts_folder(out: Path, settings: object) -> Path:
    """Where unfinished samples of these settings are kept, so that those of others are never mixed in."""
    return out / f".parts_{seed_of(repr(settings)):016x}"


def part(parts: Path, start: int) -> Path:
    """The batch that begins with a sample."""
    return parts / f"{start:08}.safetensors"


def joined(parts: Path, total: int, batch_size: int) -> dict[str, Tensor]:
    """What all parts hold, one after the other."""
    rows = [load_file(part(parts, start)) for start in range(0, total, batch_size)]
    return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}


def collect(out: Path, parts: Path, total: int, batch_size: int) -> dict[str, Tensor]:
    """Join the parts into `samples.safetensors` and remove them."""
    tensors = joined(parts, total, batch_size)
    save_tensors(out / SAMPLES, tensors)
    shutil.rmtree(parts)
    return tensors


def remove_earlier(out: Path) -> None:
    """Remove the videos that an earlier sampling recorded as its own, and the class folders that this empties."""
    record = out / SETTINGS
    earlier = json.loads(record.read_text()).get("videos", []) if record.is_file() else []
    for name in earlier:
        (out / name).unlink(missing_ok=True)
        with suppress(OSError):  # it holds something else
            (out / name).parent.rmdir()


def write_for_the_eye(out: Path, tensors: dict[str, Tensor], classes: tuple[str, ...], fps: float) -> list[str]:
    """`<Class>/<i>.mp4` for each sample, which are returned, `grid.mp4` and `grid.png` for the first of them."""
    names = [classes[label] for label in tensors["labels"].tolist()]
    files = [f"{name}/{i:05}.mp4" for i, name in enumerate(names)]
    for file, video in zip(files, tensors["videos"], strict=True):
        (out / file).parent.mkdir(exist_ok=True)
        write_video(out / file, video, fps)
    shown = tensors["videos"][:GRID_VIDEOS]
    write_video(out / "grid.mp4", labelled_grid(shown, names[:GRID_VIDEOS]), fps)
    film_strips(shown[:PICTURE_VIDEOS], names[:PICTURE_VIDEOS]).save(out / "grid.png")
    return files
