"""The clips that are shown: of scenes that training never saw."""

from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import torch
from torch import Tensor

from autoencoder.model import VidTwin
from autoencoder.trained.windows import middle_window
from data.config import DataConfig
from data.folder import by_scene
from data.index import list_split
from data.video.frames import probe
from runtime.errors import UserError


@dataclass(frozen=True)
class Clips:
    """Videos `b c t h w` in [-1, 1] on the model's device, and what to call them."""

    videos: Tensor
    titles: list[str]


def test_clips(model: VidTwin, roots: list[Path], fps: float, count: int) -> Clips:
    """Windows from the middle of at most so many test videos, of as many scenes as there are.

    Only these are opened. Raises `UserError` for a folder whose test scenes are those of training, and `BadVideo`.
    """
    scenes = [scene for root in roots for scene in held_out(root)]
    files = [file for turn in zip_longest(*scenes) for file in turn if file is not None]
    if len(scenes) > count:  # spread evenly
        files = [scenes[place * len(scenes) // count][0] for place in range(count)]
    videos = [middle_window(model, probe(file), fps) for file in files[:count]]
    return Clips(torch.cat(videos), [title(file) for file in files[:count]])


def held_out(root: Path) -> list[list[Path]]:
    """The test videos of each scene."""
    home, files, _, _ = list_split(root, "test", DataConfig.fold)
    if set(files) & set(list_split(root, "train", DataConfig.fold)[1]):
        raise UserError(f"{root} holds a single scene, which training saw, too; give a folder of several")
    return [[home / files[i] for i in places] for places in by_scene(files).values()]


def title(file: Path) -> str:
    """The class of a video of UCF-101 and of the built-in set, which are named `v_<Class>_g…`; any other's own name."""
    return file.parent.name if file.stem.startswith(f"v_{file.parent.name}_") else file.stem
