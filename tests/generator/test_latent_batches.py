"""Stage two sees the same latents, and ends with the same weights, wherever they lie."""

import pytest
import torch
from safetensors.torch import load_file

from data.latents import LatentCache
from data.latents import source as latent_source
from data.loader import ClipSampler
from generator.batches import LatentBatches
from generator.stage2 import Stage2Config
from generator.train import train
from runtime.config import load


@pytest.fixture
def configure(stage1_run, configs, tmp_path):
    def make(name, *overrides):
        places = ["--cache", str(stage1_run / "latents/train"), "--autoencoder", str(stage1_run / "weights/ema")]
        return load(Stage2Config, configs / "stage2.yaml", ["--run", str(tmp_path / name), *places, *overrides])

    return make


def test_training_on_streamed_latents_equals_training_on_resident_ones(
    processes, configure, tmp_path, monkeypatch, capsys
):
    weights = {}
    for share, how in ((0.5, "kept on"), (0.0, "streamed from")):
        monkeypatch.setattr(latent_source, "SHARE", share)
        train(configure(how, "--sample_posterior", "true", "--engine.accumulation", "2"))
        assert how in next(line for line in capsys.readouterr().out.splitlines() if line.startswith("stage2: "))
        weights[how] = load_file(tmp_path / how / "weights/raw/transformer/diffusion_pytorch_model.safetensors")
    kept, streamed = weights.values()
    assert all(torch.equal(kept[name], streamed[name]) for name in kept)


@pytest.mark.parametrize("share", [0.5, 0.0])
def test_batches_are_the_caches_means_in_the_samplers_order(processes, stage1_run, configure, monkeypatch, share):
    monkeypatch.setattr(latent_source, "SHARE", share)
    config, cache = configure("run"), LatentCache(stage1_run / "latents/train")
    batches = LatentBatches(cache, config)(start_step=5, accumulation=1)
    order = iter(ClipSampler(len(cache), 4, 0, 1, 1, 5, config.loop.seed))
    for _ in range(12):
        expected = [clip for _, clip in next(order)]
        latents, context, labels, clips = next(batches)
        assert context is None
        assert clips == expected
        for i, clip in enumerate(clips):
            assert torch.equal(latents.structure[i].cpu(), cache[clip]["structure_mean"])
            assert torch.equal(latents.dynamics[i].cpu(), cache[clip]["dynamics_mean"])
            assert labels[i] == cache[clip]["label"]
