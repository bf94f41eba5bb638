"""Training on clips with the window before: the right latents reach the loss, resumed, split and streamed."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

import generator.train as stage2
from autoencoder.cache import CacheConfig, cache_split
from autoencoder.model import VidTwin
from autoencoder.stage1.config import Stage1Config
from data.latents import LatentCache, TwinLatents
from data.latents import source as latent_source
from data.latents.neighbours import windows_before
from data.latents.plan import VIDEOS, VideoTable
from data.video.frames import read_frames, to_float
from generator.batches import LatentBatches
from generator.diffusion import diffusion_loss
from generator.memory import memory_plan
from generator.stage2 import Stage2Config
from runtime import distributed
from runtime.config import load
from runtime.errors import UserError
from runtime.weights import load_model


@pytest.fixture(scope="module")
def windows(tmp_path_factory, stage1_run, builtin_set):
    """The latents of every window, of 12.5 frames of the video each, and of their mirror images."""
    run = tmp_path_factory.mktemp("windows")
    config = load(Stage1Config, stage1_run / "config.yaml")
    settings = CacheConfig(run=str(run), batch_size=8, clips_per_video="all", flipped=True)
    return cache_split(settings, config, load_model(VidTwin, stage1_run / "weights" / "ema"), "train")


@pytest.fixture
def configure(windows, stage1_run, configs, tmp_path):
    def make(name, *overrides):
        places = ["--cache", str(windows), "--autoencoder", str(stage1_run / "weights/ema")]
        context = ["--diffusion.context", "0.5", "--engine.accumulation", "2", "--sample_posterior", "true"]
        return load(
            Stage2Config, configs / "stage2.yaml", ["--run", str(tmp_path / name), *places, *context, *overrides]
        )

    return make


def test_pairs_are_the_two_halves_of_a_clip_twice_as_long(windows, stage1_run, builtin_set):
    """Read from the video from the first window's start on, and encoded, they give the cache's latents."""
    cache, model = LatentCache(windows), load_model(VidTwin, stage1_run / "weights" / "ema")
    videos, before = VideoTable.read(windows / VIDEOS), windows_before(cache).tolist()
    pairs = [(first, clip) for clip, first in enumerate(before) if first >= 0]
    assert len(pairs) > len(cache) / 2
    for first, clip in pairs[:: len(pairs) // 12]:
        number, video = videos.place(first)
        times = (number // 2) * 12.5 + torch.arange(8) * 3.125
        frames = read_frames(builtin_set / "UCF-101" / videos.names[video], times.round().long().tolist(), (16, 16))
        if number % 2:
            frames = frames.flip(2)
        halves = torch.stack(frames.chunk(2)).permute(0, 4, 1, 2, 3)
        with torch.inference_mode():
            means = model.encode(to_float(halves)).mean
        stored = cache.read([first, clip], ["structure_mean", "dynamics_mean"])
        torch.testing.assert_close(stored["structure_mean"], means.structure, rtol=0, atol=1e-4)
        torch.testing.assert_close(stored["dynamics_mean"], means.dynamics, rtol=0, atol=1e-4)


def test_the_windows_before_reach_the_loss(processes, windows, configure, monkeypatch):
    cache, seen = LatentCache(windows), []
    before = windows_before(cache)

    def recorded(model, objective, latents, label, null_label, numbers, context):
        if latents.structure.is_meta:  # counting FLOPs
            return diffusion_loss(model, objective, latents, label, null_label, numbers, context)
        state = numbers.get_state()
        loss, terms = diffusion_loss(model, objective, latents, label, null_label, numbers, context)
        with torch.no_grad():
            numbers.set_state(state)
            alone, _ = diffusion_loss(model, objective, latents, label, null_label, numbers)
        seen.append((latents, context, label, loss.item(), alone.item()))
        return loss, terms

    batches, clips = LatentBatches.__call__, []
    monkeypatch.setattr(LatentBatches, "__call__", lambda *args: (clips.append(b.clips) or b for b in batches(*args)))
    monkeypatch.setattr(stage2, "diffusion_loss", recorded)
    config = configure("run", "--sample_posterior", "false", "--loop.steps", "12")
    stage2.train(config)
    statistics = cache.statistics("mean")
    expected = [LatentBatches(cache, config).sees_context(step) for step in range(12) for _ in range(2)]
    assert [context is not None for _, context, *_ in seen] == expected
    assert 0.2 < sum(expected) / len(expected) < 0.8

    def normalised(chosen):
        read = cache.read(chosen, ["structure_mean", "dynamics_mean"])
        for name in TwinLatents._fields:
            mean, std = (statistics[f"{name}_{kind}"] for kind in ("mean", "std"))
            shape = (1, -1, *[1] * (read[f"{name}_mean"].ndim - 2))
            yield (read[f"{name}_mean"] - mean.view(shape)) / std.view(shape)

    for chosen, (latents, context, label, loss, alone) in zip(clips, seen, strict=False):
        torch.testing.assert_close(tuple(latents), tuple(normalised(chosen)))
        assert torch.equal(label, cache.read(chosen, ["label"])["label"])
        if context is None:
            assert loss == alone
        else:
            assert before[chosen].min() >= 0
            torch.testing.assert_close(tuple(context), tuple(normalised(before[chosen])))
    assert all(loss != alone for _, context, _, loss, alone in seen[8:] if context is not None)


def weights(run):
    return load_file(run / "weights/raw/transformer/diffusion_pytorch_model.safetensors")


def test_resuming_equals_never_stopping_resident_or_streamed(processes, configure, tmp_path, monkeypatch):
    config, run = configure("run"), tmp_path / "run"
    stage2.train(config)
    whole, log = weights(run), (run / "metrics.jsonl").read_text()
    shutil.rmtree(run / "checkpoints" / "step_00000006")
    shutil.rmtree(run / "weights")
    monkeypatch.setattr(latent_source, "SHARE", 0.0)
    stage2.train(config)
    resumed = weights(run)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    again = (run / "metrics.jsonl").read_text()
    losses = [[json.loads(line).get("loss") for line in text.splitlines()] for text in (log, again)]
    assert losses[0] == losses[1]


def test_processes_share_the_clips_of_a_step(processes, windows, configure, monkeypatch):
    batches = LatentBatches(LatentCache(windows), configure("run"))

    def steps(rank, world, accumulation):
        monkeypatch.setattr(distributed, "rank", lambda: rank)
        monkeypatch.setattr(distributed, "world_size", lambda: world)
        chosen = batches.chosen(3, accumulation)
        return [[next(chosen) for _ in range(accumulation)] for _ in range(20)]

    for one, two, other in zip(steps(0, 1, 1), steps(0, 2, 2), steps(1, 2, 2), strict=True):
        with_context = len(one[0]) > 4
        assert all((len(each) > 1) == with_context for each in two + other)
        assert sorted(one[0]) == sorted(clip for each in two + other for clip in each)


def test_plans_count_the_window_before(windows, configure):
    """A step that sees it has twice the tokens; memory is planned for it, FLOPs for the mean of both kinds."""
    cache, config = LatentCache(windows), configure("run")
    flops, memory = [], []
    for share in (0.0, 0.5, 1.0):
        diffusion = replace(config.diffusion, context=share)
        model = stage2.model_config(replace(config, diffusion=diffusion), cache)
        flops.append(stage2.training_flops(model, diffusion))
        memory.append(memory_plan(model, diffusion, config.engine, config.loop).needed(4))
    assert 1.7 * flops[0] < flops[2] < 4 * flops[0]
    assert flops[1] == pytest.approx((flops[0] + flops[2]) / 2)
    assert memory[0] < memory[1] == memory[2]


def test_a_cache_without_pairs_is_refused(processes, stage1_run, configure):
    with pytest.raises(UserError, match="holds 0 clips that follow another and a step takes 4: cache every window"):
        stage2.train(configure("run", "--cache", str(stage1_run / "latents/train")))
