"""Every YAML file loads, survives a round trip, and describes a model that can be built."""

from pathlib import Path

import pytest
import torch

from autoencoder.model import VidTwin
from autoencoder.train import Stage1Config
from generator.train import Stage2Config
from runtime.config import dump, load

CONFIGS = Path(__file__).parents[1] / "configs"
CLASSES = {"stage1": Stage1Config, "stage2": Stage2Config}
FILES = sorted(file for stage in CLASSES for file in (CONFIGS / stage).glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_configuration_loads_and_round_trips(file, tmp_path):
    config_class = CLASSES[file.parent.name]
    config = load(config_class, file)
    (tmp_path / "dumped.yaml").write_text(dump(config))
    assert load(config_class, tmp_path / "dumped.yaml") == config


@pytest.mark.parametrize(
    ("name", "millions"), [("small", 106.1), ("base", 311.5), ("large", 1237.3), ("release", 311.5)]
)
def test_sizes_are_those_of_the_reference(name, millions):
    """Measured of the reference code: base 312.7 M, large 1239.7 M, with the unused head and embedding."""
    with torch.device("meta"):
        model = VidTwin.from_config_fields(load(Stage1Config, CONFIGS / f"stage1/{name}.yaml").model)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)
    unused = sum(b.numel() for b in model.unused.buffers()) / 1e6
    reference = {"small": 106.9, "base": 312.7, "large": 1239.7, "release": 312.7}[name]
    assert millions + unused == pytest.approx(reference, abs=0.06)
