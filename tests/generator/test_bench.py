"""The benchmark runs what training and sampling run, and its figures follow from what it measured."""

import json

import pytest
import torch

from generator import bench
from generator.bench import ROWS, Workload, compiled, diffusers_dit, main
from generator.stage2 import Stage2Config
from runtime.config import load
from runtime.flops import count_flops

SIZE = ["--model.width", "32", "--model.depth", "2", "--model.num_heads", "2", "--diffusion.sample_steps", "4"]


@pytest.fixture
def config(configs):
    return load(Stage2Config, configs / "stage2.yaml", SIZE)


def test_sampling_costs_its_evaluations(processes, config):
    """Two batches a step, with and without the class; Heun's method evaluates twice but at its last step."""
    work = Workload(config, batch=2)
    with torch.device("meta"):  # a CPU's own kernel of attention is not counted
        model, latents = bench.DiT(**bench.asdict(work.fields)).eval(), work.latents().to("meta")
        forward = count_flops(lambda: model(latents, torch.ones(2), work.label.to("meta"))) / 2
    evaluations = 2 * 4 - 1 if config.diffusion.objective == "flow" else 4
    assert ROWS["sampling"](work)[1] == pytest.approx(2 * evaluations * forward, rel=0.01)


def test_the_two_dits_are_of_equal_size(config):
    """Per block diffusers' has an embedding of time and class of its own; all else is equal."""
    theirs = diffusers_dit(config)
    ours = bench.DiT(**bench.asdict(bench.DiTConfig(**bench.asdict(config.model), **bench.COMPARED)))
    mine, other = ours.blocks[0], theirs.transformer_blocks[0]
    assert mine.mlp[0].weight.shape == other.ff.net[0].proj.weight.shape
    assert mine.attention.out.weight.shape == other.attn1.to_out[0].weight.shape
    assert len(ours.blocks) == len(theirs.transformer_blocks)
    assert compiled(theirs, config) is theirs


def test_the_script_writes_rows_and_ratio(configs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench, "apart", lambda measure, *args: measure(*args))
    arguments = [str(configs / "stage2.yaml"), "--repeats", "1", "--batch-size", "2", "--against", "diffusers"]
    assert main([*arguments, "--output", str(tmp_path / "bench.json"), *SIZE]) == 0
    found = json.loads((tmp_path / "bench.json").read_text())
    assert [row["what"] for row in found["rows"]] == list(ROWS)
    for row in found["rows"]:
        assert row["flop_rate"] == pytest.approx(row["flops"] / row["seconds"])
        assert 0 < row["share"] < 1
    against = found["against"]
    assert against["ratio"] == pytest.approx(against["seconds_diffusers"] / against["seconds_ours"])
    assert "times its throughput" in capsys.readouterr().out
    assert main([*arguments, "--repeats", "0"]) == 2
