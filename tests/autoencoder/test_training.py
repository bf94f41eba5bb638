"""Stage one end to end on a small set: resuming, ZeRO stages, processes, precision, caching."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from autoencoder.cache import CacheConfig, cache_split
from autoencoder.model import VidTwin
from autoencoder.stage1.config import Stage1Config
from autoencoder.train import main, train
from data.latents import LatentCache
from data.shards.pack import pack
from runtime.config import load
from runtime.errors import UserError
from runtime.weights import load_model

GAN = ["--loss.adversarial", "0.05", "--loss.disc_start", "2", "--model.height", "32", "--model.width", "32"]
DETERMINISTIC = ["--model.dropout", "0", "--sample_posterior", "false"]


@pytest.fixture
def configure(builtin_set, configs, tmp_path):
    def make(name, *overrides):
        places = ["--run", str(tmp_path / name), "--data.root", str(builtin_set)]
        return load(Stage1Config, configs / "stage1.yaml", [*places, *overrides])

    return make


def weights(run, kind="raw"):
    return load_file(run / "weights" / kind / "diffusion_pytorch_model.safetensors")


def metrics(run):
    """Every logged number but the speed, by step."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if not name.startswith("speed/")} for line in lines]


def forget_after(run, step, last):
    """What a kill between the two checkpoints would have left."""
    shutil.rmtree(run / "checkpoints" / f"step_{last:08}")
    shutil.rmtree(run / "weights")
    assert (run / "checkpoints" / f"step_{step:08}").exists()


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_resuming_equals_never_stopping(processes, configure, tmp_path):
    """With GAN, dropout and posterior samples, accumulation, across an epoch's end, bit for bit."""
    config = configure("run", *GAN, "--engine.accumulation", "2", "--loop.batch_size", "8", "--optimizer.name", "muon")
    train(config)
    whole, raw, ema = metrics(tmp_path / "run"), weights(tmp_path / "run"), weights(tmp_path / "run", "ema")
    forget_after(tmp_path / "run", 3, last=6)
    train(config)
    assert metrics(tmp_path / "run") == whole
    assert len([line for line in whole if "loss" in line]) == 6
    assert equal(weights(tmp_path / "run"), raw)
    assert equal(weights(tmp_path / "run", "ema"), ema)
    assert not equal(raw, ema)


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.full)])
def test_training_on_shards_resumes_and_is_cached_like_the_folder(processes, configure, builtin_set, tmp_path, workers):
    packed = tmp_path / "shards"
    for split in ("train", "test"):
        pack(builtin_set, packed, split, fold=1, videos_per_shard=4)
    sharded = ["--data.root", str(packed), "--data.in_memory", "false", "--data.workers", str(workers)]
    config = configure("run", *sharded, "--engine.accumulation", "2", "--loop.validate_every", "3")
    with pytest.raises(UserError, match="pairs videos of one scene, which shards hold apart"):
        train(configure("run", *sharded, "--loss.exchange", "0.5"))
    train(config)
    whole, raw = metrics(tmp_path / "run"), weights(tmp_path / "run")
    forget_after(tmp_path / "run", 3, last=6)
    train(config)
    assert metrics(tmp_path / "run") == whole
    assert equal(weights(tmp_path / "run"), raw)
    model, settings = (
        load_model(VidTwin, tmp_path / "run/weights/ema"),
        CacheConfig(run=str(tmp_path / "run"), workers=workers),
    )
    cached = [cache_split(settings, config, model, split) for split in ("train", "test")]
    assert len(LatentCache(cached[0])) == 30
    from_shards = by_name(LatentCache(cached[1]))
    shutil.rmtree(cached[1])
    folder = configure("run", "--engine.accumulation", "2", "--loop.validate_every", "3")
    from_folder = by_name(LatentCache(cache_split(settings, folder, model, "test")))
    assert from_shards.keys() == from_folder.keys()
    for name, mean in from_shards.items():
        torch.testing.assert_close(mean, from_folder[name], rtol=0, atol=1e-6)


def by_name(cache):
    means = cache.read(torch.arange(len(cache)), ["dynamics_mean"])["dynamics_mean"]
    return dict(zip(cache.clip_names, means, strict=True))


def without_key_biases(tensors):
    """A key's bias shifts all scores of a query alike, which softmax ignores: Adam moves it by rounding noise alone."""
    return {
        name: value.view(3, -1)[[0, 2]] if name.endswith("qkv.bias") else value
        for name, value in tensors.items()
        if not name.endswith("key.bias")
    }


def test_zero_stages_agree(processes, configure, tmp_path):
    trained = {}
    for stage in range(4):
        config = configure(f"stage{stage}", *GAN, "--engine.zero_stage", str(stage), "--loop.steps", "4")
        train(config)
        trained[stage] = without_key_biases(weights(tmp_path / f"stage{stage}"))
    for stage in (1, 2, 3):
        for name, value in trained[0].items():
            torch.testing.assert_close(trained[stage][name], value, rtol=0, atol=5e-5, msg=f"stage {stage}: {name}")


def assert_close(one, other):
    ours, theirs = (without_key_biases(weights(run)) for run in (one, other))
    for name, value in ours.items():
        torch.testing.assert_close(theirs[name], value, rtol=0, atol=1e-5, msg=name)


def test_two_processes_equal_one_and_one_continues_what_two_began(processes, configure, launch, configs, tmp_path):
    config = configure("one", *DETERMINISTIC, "--loop.validate_every", "3")
    train(config)
    arguments = ["--config", str(configs / "stage1.yaml"), "--data.root", config.data.root, *DETERMINISTIC]
    arguments += ["--loop.validate_every", "3"]
    done = launch("autoencoder.train", *arguments, "--run", str(tmp_path / "two"), ranks=2)
    assert done.returncode == 0, done.stderr
    assert_close(tmp_path / "one", tmp_path / "two")
    for a, b in zip(metrics(tmp_path / "one"), metrics(tmp_path / "two"), strict=True):
        assert a.keys() == b.keys()
        for name in a.keys() & {"loss", "validation/psnr"}:
            assert a[name] == pytest.approx(b[name], rel=1e-4)
    forget_after(tmp_path / "two", 3, last=6)
    train(configure("two", *DETERMINISTIC, "--loop.validate_every", "3"))
    assert_close(tmp_path / "one", tmp_path / "two")


@pytest.mark.full
def test_two_nodes_equal_one_process(processes, configure, configs, nodes, tmp_path):
    config = configure("one", *DETERMINISTIC)
    train(config)
    arguments = ["--config", str(configs / "stage1.yaml"), "--data.root", config.data.root, *DETERMINISTIC]
    for done in nodes("autoencoder.train", *arguments, "--run", str(tmp_path / "two")):
        assert done.returncode == 0, done.stderr
    assert_close(tmp_path / "one", tmp_path / "two")


@pytest.mark.full
def test_a_run_continues_at_another_zero_stage(processes, configure, tmp_path):
    train(configure("whole", *GAN))
    train(configure("run", *GAN))
    forget_after(tmp_path / "run", 3, last=6)
    train(configure("run", *GAN, "--engine.zero_stage", "2"))
    ours, theirs = (without_key_biases(weights(tmp_path / name)) for name in ("run", "whole"))
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=0, atol=2e-5, msg=name)


@pytest.mark.parametrize("settings", [["--engine.zero_stage", "0"], ["--optimizer.name", "muon"]])
def test_states_of_muon_and_of_stage_0_are_not_divided_anew(processes, configure, settings):
    train(configure("run", *settings, "--loop.steps", "1"))
    with pytest.raises(UserError, match="cannot be divided anew"):
        train(configure("run", *settings, "--engine.zero_stage", "2", "--loop.steps", "2"))


@pytest.mark.full
def test_offloaded_states_agree(processes, configure, tmp_path):
    """DeepSpeed builds its Adam for CPUs at the first use, which takes a minute."""
    for name, offload in (("kept", "false"), ("offloaded", "true")):
        train(configure(name, "--engine.zero_stage", "2", "--engine.offload", offload, "--loop.steps", "4"))
    ours, theirs = (without_key_biases(weights(tmp_path / name)) for name in ("kept", "offloaded"))
    for name, value in ours.items():
        torch.testing.assert_close(theirs[name], value, rtol=0, atol=2e-5, msg=name)


@pytest.mark.parametrize("ablation", ["--model.dynamics=none", "--model.structure=conv_mlp"])
def test_ablations_train_validate_and_are_cached(processes, configure, tmp_path, ablation):
    config = configure("run", ablation, "--loop.steps", "2", "--loop.validate_every", "1")
    train(config)
    settings = CacheConfig(run=str(tmp_path / "run"), shard_size=8, batch_size=4)
    cache_split(settings, config, load_model(VidTwin, tmp_path / "run" / "weights" / "ema"), "test")
    cache = LatentCache(tmp_path / "run" / "latents" / "test")
    assert cache.dynamics_shape == config.model.dynamics_shape


def test_fine_tuning_begins_with_the_weights_it_is_given(processes, configure, stage1_run, tmp_path, capsys):
    longer = ["--init_from", str(stage1_run / "weights/ema"), "--model.frames", "8", "--loop.steps", "1"]
    train(configure("longer", *longer, "--optimizer.lr", "1e-12"))
    assert "queries_to_frames: stretched from" in capsys.readouterr().out
    before, after = weights(stage1_run, "ema"), weights(tmp_path / "longer")
    unchanged = "encoder.transformer.blocks.0.space.qkv.weight"
    torch.testing.assert_close(after[unchanged], before[unchanged], rtol=0, atol=1e-6)


def test_the_best_checkpoint_is_the_best_validation(processes, configure, tmp_path):
    train(configure("run", "--loop.validate_every", "1", "--loop.save_every", "0", "--loop.keep", "1"))
    checkpoints = tmp_path / "run" / "checkpoints"
    psnrs = {line["step"]: line["validation/psnr"] for line in metrics(tmp_path / "run") if "validation/psnr" in line}
    best = (checkpoints / "best").read_text().strip()
    assert best == f"step_{max(psnrs, key=psnrs.get):08}"
    assert {place.name for place in checkpoints.glob("step_*")} == {best, "step_00000006"}


def test_bf16_moves_weights_and_average(processes, configure, tmp_path):
    config = configure("bf16", "--engine.precision", "bf16", "--optimizer.lr", "1e-5", "--loop.ema_decay", "0.9")
    torch.manual_seed(config.loop.seed)
    before = dict(VidTwin.from_config_fields(config.model).named_parameters())
    train(config)
    for kind in ("raw", "ema"):
        after = weights(tmp_path / "bf16", kind)
        moved = [name for name, value in before.items() if not torch.equal(after[name], value)]
        assert len(moved) > 0.9 * len(before)  # steps of 1e-5 would be lost in bf16 weights
        assert after[moved[0]].dtype == torch.float32


def test_an_interrupted_cache_equals_an_uninterrupted_one(processes, stage1_run, configs, builtin_set, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(stage1_run, run, ignore=shutil.ignore_patterns("checkpoints", "tensorboard", ".lock"))
    folder = run / "latents" / "train"
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "manifest.json").unlink()
    (folder / "shard_00001.safetensors").unlink()
    (folder / ".shard_00001.safetensors.partial").write_bytes(b"cut short")
    config = load(Stage1Config, run / "config.yaml")
    settings = CacheConfig(run=str(run), shard_size=8, batch_size=4)
    model = load_model(VidTwin, run / "weights" / "ema")
    cache_split(settings, config, model, "train")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == whole

    (folder / "shard_00002.safetensors").write_bytes(whole["shard_00001.safetensors"])
    with pytest.raises(UserError, match="shard_00002"):
        LatentCache(folder).verify()
    (folder / "shard_00002.safetensors").write_bytes(whole["shard_00002.safetensors"])
    with torch.no_grad():
        next(model.parameters()).add_(1)
    with pytest.raises(UserError, match="another autoencoder"):
        cache_split(settings, config, model, "train")


def test_the_caches_statistics_and_content_are_the_encoders(stage1_run):
    cache = LatentCache(stage1_run / "latents" / "train")
    tensors = cache.load()
    assert len(cache) == len(tensors["label"]) == len(set(tensors["video"].tolist()))
    for latent in ("structure", "dynamics"):
        values = tensors[f"{latent}_mean"].double().transpose(0, 1).flatten(1)
        noise = tensors[f"{latent}_logvar"].double().exp().transpose(0, 1).flatten(1)
        means, samples = cache.statistics("mean"), cache.statistics("sample")
        torch.testing.assert_close(means[f"{latent}_mean"].double(), values.mean(1), rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(means[f"{latent}_std"].double(), values.std(1, correction=0), rtol=1e-6, atol=1e-6)
        expected = (values.var(1, correction=0) + noise.mean(1)).sqrt()
        torch.testing.assert_close(samples[f"{latent}_std"].double(), expected, rtol=1e-6, atol=1e-6)


def test_bad_input_is_one_line_and_code_2(capsys, tmp_path, configs, builtin_set, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "half" / "UCF-101").mkdir(parents=True)
    base = ["--config", str(configs / "stage1.yaml"), "--run", str(tmp_path / "run")]
    for arguments, said in (
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
        ([*base, "--model.dimm", "3"], "dimm"),
        ([*base, "--loop.steps", "many"], "steps"),
        ([*base, "--loss.perceptual", "0.05", "--data.root", str(builtin_set)], "vgg16-397923af.pth"),
        ([*base, "--data.root", str(tmp_path / "half")], "ucfTrainTestlist"),
        ([*base, "--data.root", str(tmp_path / "run")], "holds no videos"),
        ([*base, "--engine.precision", "bf16", "--engine.zero_stage", "0"], "zero_stage 1"),
    ):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert said in error.splitlines()[-1]
        assert "Traceback" not in error
