"""Every YAML file loads, survives a round trip, and describes a model that can be built."""

from dataclasses import replace
from math import prod
from pathlib import Path

import pytest
import torch

from autoencoder.model import VidTwin
from autoencoder.stage1.config import Stage1Config
from generator.stage2 import Stage2Config
from runtime.config import dump, load
from runtime.errors import UserError

CONFIGS = Path(__file__).parents[1] / "configs"
CLASSES = {"stage1": Stage1Config, "stage2": Stage2Config}
FILES = sorted(file for stage in CLASSES for file in (CONFIGS / stage).rglob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(CONFIGS).with_suffix("")))
def test_configuration_loads_and_round_trips(file, tmp_path):
    config_class = CLASSES[file.relative_to(CONFIGS).parts[0]]
    config = load(config_class, file)
    (tmp_path / "dumped.yaml").write_text(dump(config))
    assert load(config_class, tmp_path / "dumped.yaml") == config


@pytest.mark.parametrize(
    ("option", "hint"),
    [
        ("--train.steps", "did you mean --loop.steps"),
        ("--optimiser.lr", "did you mean --optimizer.lr"),
        ("--quux", "--help lists all settings"),
    ],
)
def test_an_unknown_option_is_answered_with_a_known_one(option, hint):
    with pytest.raises(UserError, match=f"unrecognized arguments: {option}=3; {hint}"):
        load(Stage1Config, CONFIGS / "stage1/demo.yaml", [f"{option}=3"])


@pytest.mark.parametrize(
    ("name", "changes", "percent"),
    [
        ("setting2", {"dynamics_channels": 16, "dynamics_halvings": 2}, 0.2152),
        ("setting3", {"num_queries": 12}, 0.1721),
        ("ablations/one_latent", {"structure_channels": 6, "dynamics": "none"}, 0.1953),
        ("ablations/spatial_qformer", {"dynamics": "spatial_qformer"}, 0.2046),
        ("ablations/conv_mlp", {"structure": "conv_mlp"}, 0.2046),
        ("ablations/wide_qformer", {"structure": "wide_qformer"}, 0.2046),
    ],
)
def test_variants_are_base_but_for_the_named_fields(name, changes, percent):
    base, variant = (load(Stage1Config, CONFIGS / f"stage1/{each}.yaml") for each in ("base", name))
    assert variant == replace(base, model=replace(base.model, **changes))
    latents = (variant.model.structure_shape, variant.model.dynamics_shape)
    assert 100 * sum(map(prod, latents)) / (3 * 16 * 224 * 224) == pytest.approx(percent, abs=5e-5)


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


def test_muon_is_not_clipped():
    """DeepSpeed makes Muon's updates before it clips: at a norm of 1 they would be a hundredth of their size."""
    with pytest.raises(UserError, match="clip_norm 0"):
        load(Stage2Config, CONFIGS / "stage2/modern.yaml", ["--optimizer.name=muon"])
