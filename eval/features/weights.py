"""Files of published weights, which are downloaded by hand."""

import os
from pathlib import Path
from typing import NamedTuple

from runtime.errors import UserError


class Weights(NamedTuple):
    """What a network is published as.

    Attributes:
        setting: the variable of the environment that may name the file.
        source: how large it is, and where to find it.
    """

    file: str
    setting: str
    source: str


def find_file(path: str | Path | None, weights: Weights) -> Path:
    """The file that was given, or the one that the environment names. Raises `UserError` where there is none."""
    named = path or os.environ.get(weights.setting)
    if named and Path(named).is_file():
        return Path(named)
    problem = f"there is no file {named}" if named else "the feature network is missing"
    raise UserError(
        f"{problem}: download {weights.file} ({weights.source}) and name it with --features PATH or "
        f"{weights.setting}=PATH"
    )
