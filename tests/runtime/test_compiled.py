"""Compiled training: the same losses as uncompiled, in one process with engines that compile nothing."""

import json

import pytest
import torch

from autoencoder.stage1.config import Stage1Config
from autoencoder.train import train as train_stage1
from generator.train import Stage2Config
from generator.train import train as train_stage2
from runtime.config import load

# PyTorch hides this warning of its own where it is shown, which is too late where warnings are errors.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")

BF16 = ["--engine.precision", "bf16", "--loop.validate_every", "3"]
GAN = ["--loss.adversarial", "0.05", "--loss.disc_start", "2", "--model.height", "32", "--model.width", "32"]


def losses(run) -> torch.Tensor:
    """Of each step that was logged."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert all(line.get("skipped_steps", 0) == 0 for line in lines)
    return torch.tensor([line["loss"] for line in lines if "loss" in line])


def compiled_graphs() -> int:
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


@pytest.fixture
def curves(processes, tmp_path):
    """Losses of a run without and one with `torch.compile`, otherwise equal; the second one's graphs are new."""

    def both(train, config_class, file, *overrides):
        found = []
        for compile in ("off", "on"):
            torch._dynamo.reset()
            run = tmp_path / compile
            before = compiled_graphs()
            import time; t0=time.process_time()
            train(load(config_class, file, [*BF16, *overrides, "--run", str(run), "--engine.compile", compile]))
            print(time.process_time()-t0, compile, compiled_graphs() - before, torch._dynamo.utils.counters["graph_break"])
            found.append(losses(run))
        print(found, (found[1]/found[0]-1).abs())
        return found

    return both


@pytest.mark.full
def test_stage_one(curves, builtin_set, configs):
    a, b = curves(train_stage1, Stage1Config, configs / "stage1.yaml", *GAN, "--data.root", str(builtin_set))
    torch.testing.assert_close(b, a, rtol=1e-2, atol=0)


@pytest.mark.full
@pytest.mark.parametrize("objective", ["x0", "flow"])
def test_stage_two(curves, stage1_run, configs, objective):
    places = ["--cache", str(stage1_run / "latents/train"), "--autoencoder", str(stage1_run / "weights/ema")]
    a, b = curves(train_stage2, Stage2Config, configs / "stage2.yaml", *places, "--diffusion.objective", objective)
    torch.testing.assert_close(b, a, rtol=1e-2, atol=0)
