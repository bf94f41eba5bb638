"""Snapshots of averages in a run's folder: a file for each step and width, float16, whole or not there.

`averages/step_00010000_width_0.05.safetensors`. Of a weight float16 keeps eleven bits, where bfloat16 keeps eight, and
no weight of a network that trains is beyond its range.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from runtime.errors import UserError
from runtime.files import flush
from runtime.progress import track
from runtime.tensors import save_tensors
from runtime.training.power_average import Profile

ELEMENT = torch.float16.itemsize
NAME = re.compile(r"step_(\d+)_width_(.+)\.safetensors")


def place(folder: Path, profile: Profile) -> Path:
    return folder / f"step_{profile.step:08}_width_{profile.width}.safetensors"


def write_snapshot(folder: Path, profile: Profile, model: nn.Module) -> None:
    """The parameters of an averaged model, on disk when this returns. Raises `UserError` when the disk is full."""
    path = place(folder, profile)
    try:
        folder.mkdir(exist_ok=True)
        save_tensors(path, {name: weight.half().cpu() for name, weight in model.named_parameters()})
        flush(path)
        flush(folder)
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"no snapshot could be written to {folder} ({error}); make room, or put it right otherwise, and give the "
            "same command again: the run continues from its newest checkpoint"
        ) from error


def snapshots_in(folder: Path) -> list[Profile]:
    """What there is, by step and width."""
    named = (NAME.fullmatch(path.name) for path in folder.glob("step_*"))
    return sorted(Profile(int(match[1]), float(match[2])) for match in named if match)


def drop_snapshots_after(folder: Path, step: int) -> None:
    """Those that a run which goes on from `step` writes again."""
    for profile in snapshots_in(folder):
        if profile.step > step:
            place(folder, profile).unlink()


def combine(folder: Path, kept: Sequence[Profile], coefficients: Sequence[float]) -> dict[str, Tensor]:
    """The weighted sum of snapshots, float32; one is read at a time. Raises `UserError` for one that is damaged."""
    total: dict[str, Tensor] = {}
    pairs = zip(kept, coefficients, strict=True)
    for profile, coefficient in track(pairs, len(kept), "averaging", "snapshots"):
        for name, weight in read(place(folder, profile)).items():
            total.setdefault(name, torch.zeros(weight.shape)).add_(weight.float(), alpha=float(coefficient))
    return total


def read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} is damaged ({error}); remove it: the others may be enough") from error
