"""What stage one's step is counted to need: against tensors that are really there, and on the GPUs that people have."""

from pathlib import Path

import pytest
import yaml

from autoencoder.stage1.config import Stage1Config
from autoencoder.stage1.memory import memory_plan, micro_batch
from autoencoder.train import main
from runtime.config import load
from runtime.memory import PeakMemory
from runtime.training import memory_plan as planning
from runtime.training.memory_plan import usable

BASE = Path(__file__).parents[2] / "configs/stage1/base.yaml"
LOSSES = ["--loss.perceptual", "0.05", "--loss.adversarial", "0.05", "--loss.disc_start", "2"]
SIZE = ["--model.height", "32", "--model.width", "32"]


@pytest.fixture
def tiny(configs):
    return ["--config", str(configs / "stage1.yaml"), *SIZE, *LOSSES]


@pytest.mark.parametrize(
    ("precision", "recompute"), [pytest.param("fp32", "false", marks=pytest.mark.full), ("bf16", "true")]
)
def test_what_is_traced_is_what_real_tensors_take(tiny, monkeypatch, precision, recompute):
    settings = ["--engine.precision", precision, "--engine.checkpoint_activations", recompute]
    config = load(Stage1Config, tiny[1], [*tiny[2:], *settings, "--model.decoder_depth", "3"])
    fake = micro_batch(config, 4)
    monkeypatch.setattr(planning, "traced", PeakMemory)  # the same step, carried out
    real = micro_batch(config, 4)
    assert fake.activations == real.activations
    assert fake.peak == pytest.approx(real.peak, rel=0.01)


def test_base_trains_on_24_40_and_80_gb():
    plan = memory_plan(load(Stage1Config, BASE))
    micro_batches = {card: 24 // plan.fewest_micro_batches(usable(card * 1e9)) for card in (24, 40, 80)}
    assert micro_batches == {24: 4, 40: 8, 80: 12}
    # Weights in two bytes; float32 gradients, weights with two moments, and average: 22 bytes each.
    assert plan.states.kept == pytest.approx(22 * 314.2e6, rel=0.01)
    # 32 blocks of 16·196 tokens of width 768 keep 17 widths (MLP's hidden layer is 4 of them) in two bytes.
    assert plan.one.activations == pytest.approx(32 * 17 * 16 * 196 * 768 * 2, rel=0.2)


def test_a_dry_run_counts_for_one_of_many_processes(tiny, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main([*tiny, "--dry-run"]) == 0
    said = capsys.readouterr().out
    for part in ("2 a process, accumulation auto", "optimizer states", "activations", "losses", "into 24 GB", "disk"):
        assert part in said
    assert main([*tiny, "--dry-run", "--loop.batch_size", "3"]) == 2
    assert "3 cannot be split over 2 processes" in capsys.readouterr().err
    assert main([*tiny, "--dry-run", "--engine.accumulation", "3"]) == 2
    assert "--engine.accumulation" in capsys.readouterr().err


def test_a_runs_configuration_says_how_many_micro_batches_it_had(stage1_run, stage2_run):
    for run in (stage1_run, stage2_run):
        assert yaml.safe_load((run / "config.yaml").read_text())["engine"]["accumulation"] == 1
