"""The features of one side of a distance, with how they were made; also as a file, in the place of the videos."""

import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from runtime.errors import UserError
from runtime.tensors import save_tensors

KEY = "features"


@dataclass(frozen=True)
class Recipe:
    """What two sides must have alike.

    Attributes:
        fps: that the frames were taken at, where it was asked for.
        size: height and width of the clips before the network's own transform.
        weights: the name of the network's file, which may differ; its hash may not.
        transform: of the network.
        sha256: of the network's weights.
    """

    frames: int
    frame_stride: int
    fps: float | None
    size: tuple[int, int]
    feature_network: str
    weights: str
    transform: str
    sha256: str

    def difference(self, other: "Recipe") -> tuple[str, object, object] | None:
        """The first thing that is not alike: its name, and both values."""
        pairs = ((field.name, getattr(self, field.name), getattr(other, field.name)) for field in fields(self))
        return next((pair for pair in pairs if pair[0] != "weights" and pair[1] != pair[2]), None)


@dataclass(frozen=True)
class FeatureSet:
    """Features `n d` of n different clips.

    Attributes:
        keys: of the clips: the same ones have the same.
        path: of the videos.
        available: how many there were to choose from.
        left_out: names and faults of files that cannot be read or are too short.
        rates: of the clips, as their source has them.
        reference: which published set they are of; empty for any other.
    """

    features: Tensor
    keys: tuple[str, ...]
    recipe: Recipe
    path: str
    available: int
    left_out: dict[str, str]
    rates: tuple[float, float] | None
    reference: str

    @property
    def count(self) -> int:
        return len(self.features)

    @property
    def rate(self) -> str:
        """In words."""
        return in_words(self.rates) if self.rates else "an unknown rate"

    def chosen(self, places: list[int]) -> "FeatureSet":
        """Some of them, in the order in which they stand."""
        places = sorted(places)
        return replace(self, features=self.features[places], keys=tuple(self.keys[i] for i in places))

    def save(self, path: Path) -> None:
        """The features themselves: their mean and covariance follow, and so do intervals and kernel distances."""
        described = {name: value for name, value in vars(self).items() if name != KEY} | {"recipe": asdict(self.recipe)}
        save_tensors(path, {KEY: self.features.contiguous()}, {"feature_set": json.dumps(described)})


def in_words(rates: tuple[float, float]) -> str:
    low, high = rates
    return f"{low:g} fps" if low == high else f"{low:g} to {high:g} fps"


def is_saved(path: Path) -> bool:
    """Whether this is a file that `save` wrote, by its header."""
    if path.suffix != ".safetensors" or not path.is_file():
        return False
    try:
        with safe_open(path, "pt") as file:
            return list(file.keys()) == [KEY]
    except SafetensorError:
        return False


def load_features(path: Path) -> FeatureSet:
    """What `save` wrote. Raises `UserError` for a damaged file, and for features that are not numbers."""
    try:
        with safe_open(path, "pt") as file:
            features, described = file.get_tensor(KEY), json.loads(file.metadata()["feature_set"])
        recipe = described.pop("recipe")
        described["recipe"] = Recipe(**recipe | {"size": tuple(recipe["size"])})
        described["keys"] = tuple(described["keys"])
        described["rates"] = described["rates"] and tuple(described["rates"])
        found = FeatureSet(features, **described)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is not what --save_statistics writes; write it again") from error
    if features.ndim != 2 or len(found.keys) != len(features) or not torch.isfinite(features).all():
        raise UserError(f"{path} is damaged; write it again")
    return found
