"""The benchmark runs what training runs, and its table follows from what it measured."""

import json
from dataclasses import replace
from functools import partial

import pytest
import torch

from autoencoder import bench
from autoencoder.bench import ROWS, Workload, main, measure
from autoencoder.stage1.config import Stage1Config
from runtime.config import load

SIZE = ["--model.height", "32", "--model.width", "32"]


@pytest.fixture
def config(configs):
    return load(Stage1Config, configs / "stage1.yaml", SIZE)


def test_flops_add_up(processes, config):
    work = Workload(config, batch=2)
    flops = {what: ROWS[what](work)[1] for what in ROWS if "LPIPS" not in what}
    assert flops["encode"] + flops["decode"] == flops["forward"]
    # A backward pass costs twice the forward pass, but for the input's gradient and attention's recomputed scores.
    assert 2.7 * flops["forward"] < flops["forward + backward"] < 3.3 * flops["forward"]
    assert flops["forward + backward"] == flops["training step"] < flops["training step + GAN"]


def test_a_row_is_what_was_measured(processes, config):
    row = measure("training step + GAN", config, batch=2, repeats=1)
    assert row.clips_per_second * row.seconds == pytest.approx(2)
    assert row.share == pytest.approx(row.flops / row.seconds / row.matmul_rate)
    assert 0 < row.share < 1
    assert 1e8 < row.peak_memory < 1e11


@pytest.mark.parametrize("what", [pytest.param("encode", marks=pytest.mark.full), "decode", "forward"])
def test_rows_are_compiled_where_the_configuration_says_so(processes, config, monkeypatch, what):
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    for setting, compiled in (("off", 0), ("on", 1)):
        work = Workload(replace(config, engine=replace(config.engine, compile=setting)), batch=1)
        ROWS[what](work)[0]()
        assert len(graphs) == compiled


def test_the_script_writes_the_table_and_names_what_it_leaves_out(configs, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(bench, "apart", lambda measure, *args: measure(*args))
    arguments = [str(configs / "stage1.yaml"), "--repeats", "1", "--rows", "decode", "training step + LPIPS + GAN"]
    assert main([*arguments, "--output", str(tmp_path / "bench.json"), *SIZE]) == 0
    said = capsys.readouterr()
    assert "left out: training step + LPIPS + GAN" in said.err
    assert "decode" in said.out
    (row,) = json.loads((tmp_path / "bench.json").read_text())
    assert row["flop_rate"] == pytest.approx(row["flops"] / row["seconds"])
    assert main([*arguments, "--batch-size", "0"]) == 2
