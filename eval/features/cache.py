"""Features that were computed before, by what they were computed of."""

import hashlib
import json
import time
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from eval.features.network import FeatureNetwork
from runtime.tensors import save_tensors

ROWS, SECONDS = 256, 30.0  # of work that a kill may cost


class FeatureCache:
    """Rows by the key of a clip, in a folder for each network and its transform; without a folder, in memory.

    A key covers the content of a clip's file, its frames and their size, so a changed file loses its own row and no
    other. Rows are added in files of their own, each of them whole or not there: several processes may add at a time.
    """

    def __init__(self, folder: Path | None, network: FeatureNetwork) -> None:
        made_of = f"{network.sha256} {network.transform}"
        self.folder = folder and folder / f"{network.name}-{hashlib.sha256(made_of.encode()).hexdigest()[:16]}"
        self.rows: dict[str, Tensor] = {}
        self.fresh: list[str] = []
        self.saved = time.monotonic()
        for path in sorted(self.folder.glob("*.safetensors")) if self.folder else ():
            self.rows |= read(path)

    def __contains__(self, key: str) -> bool:
        return key in self.rows

    def __getitem__(self, key: str) -> Tensor:
        return self.rows[key]

    def add(self, keys: list[str], features: Tensor) -> None:
        """Rows `n d`; now and then they are written."""
        self.rows |= zip(keys, features, strict=True)
        self.fresh += keys
        if len(self.fresh) >= ROWS or time.monotonic() - self.saved > SECONDS:
            self.save()

    def save(self) -> None:
        """Write what was added since."""
        keys, self.fresh, self.saved = self.fresh, [], time.monotonic()
        if self.folder and keys:
            self.folder.mkdir(parents=True, exist_ok=True)
            name = hashlib.sha256("".join(keys).encode()).hexdigest()[:16]
            held = {"features": torch.stack([self.rows[key] for key in keys])}
            save_tensors(self.folder / f"{name}.safetensors", held, {"keys": json.dumps(keys)})


def read(path: Path) -> dict[str, Tensor]:
    """The rows of a file; none of a damaged one, whose features are then computed again."""
    try:
        with safe_open(path, "pt") as file:
            return dict(zip(json.loads(file.metadata()["keys"]), file.get_tensor("features"), strict=True))
    except (SafetensorError, KeyError, TypeError, ValueError):
        return {}
