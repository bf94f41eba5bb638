"""Latent caches on disk: what is written is what is read, whatever happens in between."""

import json
import subprocess

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from data.latents import source as latent_source
from data.latents.cache import PLACES, LatentCache, main
from data.latents.channel_statistics import MOMENTS
from data.latents.plan import CachePlan, VideoTable
from data.latents.source import ResidentLatents, StreamedLatents
from data.latents.writer import LatentWriter
from runtime.errors import UserError

SHAPES = {"structure": (2, 3, 2, 2), "dynamics": (3, 4, 5)}


def random_latents(clips, shapes, seed=0):
    numbers = torch.Generator().manual_seed(seed)
    tensors = {
        f"{latent}_{moment}": torch.randn(clips, *shapes[latent], generator=numbers) * 3 + 5
        for latent in shapes
        for moment in ("mean", "logvar")
    }
    places = {"label": torch.arange(clips) % 7, "video": torch.arange(clips) // 2, "first_frame": torch.arange(clips)}
    return {**tensors, **places}


def writer(folder, clips, shard_size, **settings):
    videos = VideoTable(
        tuple(f"{i}.avi" for i in range((clips + 1) // 2)),
        tuple(range((clips + 1) // 2)),
        (9,) * ((clips + 1) // 2),
        (2,) * (clips // 2) + (1,) * (clips % 2),
    )
    plan = {
        "autoencoder": "a" * 64,
        "autoencoder_config": {"frames": 4, "height": 16, "width": 16},
        "split": "train",
        "classes": ("one", "two"),
        "videos": videos.sha256(),
        "clips": clips,
        "clips_per_video": 2,
        "flipped": False,
        "seed": 0,
        "fps": 8.0,
        "precision": "fp32",
        "shard_size": shard_size,
        "batch_size": 2,
    }
    return LatentWriter(folder, CachePlan(**plan | settings), videos)


def write(folder, tensors, shard_size=4, **settings):
    made = writer(folder, len(tensors["label"]), shard_size, **settings)
    for shard in made.missing(0, 1):
        chosen = made.plan.shard_clips(shard)
        made.write(shard, {name: each[chosen.start : chosen.stop] for name, each in tensors.items()})
    made.finish()
    return LatentCache(folder)


@settings(max_examples=40, deadline=None)
@given(
    clips=st.integers(1, 23),
    shard_size=st.integers(1, 9),
    precision=st.sampled_from(["fp32", "fp16", "bf16"]),
    width=st.integers(0, 3),
    draw=st.randoms(use_true_random=False),
)
def test_reading_gives_what_was_written(tmp_path_factory, clips, shard_size, precision, width, draw):
    """By clip, by shard, in any order and repeated, and whole; with a shorter last shard, and without dynamics."""
    tensors = random_latents(clips, {"structure": (2, 3, 2, 2), "dynamics": (width, 4, 5)})
    cache = write(tmp_path_factory.mktemp("cache"), tensors, shard_size, precision=precision)
    dtype = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]
    expected = tensors | {name: tensors[name].to(dtype) for name in MOMENTS}
    chosen = [draw.randrange(clips) for _ in range(9)]
    for name, read in cache.read(chosen, (*MOMENTS, *PLACES)).items():
        assert torch.equal(read, expected[name][chosen])
    for name, whole in cache.load().items():
        assert torch.equal(whole, expected[name])
        assert torch.equal(cache[clips - 1][name], expected[name][-1])
        assert torch.equal(cache.shard(0, [name])[name], expected[name][:shard_size])
    assert [cache.clip_names[i] for i in (0, clips - 1, -1)] == ["0.avi", *[f"{(clips - 1) // 2}.avi"] * 2]
    for wrong in (-1, clips):
        with pytest.raises(IndexError):
            cache.read([0, wrong], ["label"])


def test_views_outlive_their_cache_and_copy_nothing(tmp_path):
    tensors = random_latents(9, SHAPES)
    cache = write(tmp_path, tensors)
    first, again = cache[7]["structure_mean"], cache[7]["structure_mean"]
    assert first.data_ptr() == again.data_ptr()
    del cache, again
    assert torch.equal(first, tensors["structure_mean"][7])


def test_statistics_are_those_of_a_single_pass(tmp_path):
    """In float64 over the stored values, far from zero."""
    tensors = random_latents(50, SHAPES)
    for name in ("structure_mean", "dynamics_mean"):
        tensors[name] = tensors[name] + 1000
    for precision in ("fp32", "fp16"):
        cache = write(tmp_path / precision, tensors, shard_size=7, precision=precision)
        stored = cache.load()
        for latent in SHAPES:
            mean = np.moveaxis(stored[f"{latent}_mean"].double().numpy(), 1, 0).reshape(SHAPES[latent][0], -1)
            noise = np.exp(np.moveaxis(stored[f"{latent}_logvar"].double().numpy(), 1, 0)).reshape(len(mean), -1)
            found = cache.manifest["statistics"][latent]
            np.testing.assert_allclose(found["mean"], mean.mean(1), rtol=1e-6)
            np.testing.assert_allclose(found["std"], mean.std(1), rtol=1e-6)
            np.testing.assert_allclose(found["std_sample"], np.sqrt(mean.var(1) + noise.mean(1)), rtol=1e-6)
        for name, error in cache.manifest["rounding"].items():
            off = (stored[name].double() - tensors[name].double()).numpy()
            assert error["max"] == abs(off).max()
            assert error["rms"] == pytest.approx(np.sqrt((off**2).mean()), rel=1e-9)
    assert error["max"] > 0


def test_a_flipped_bit_is_found_and_written_again_alone(tmp_path, capsys):
    tensors = random_latents(11, SHAPES)
    write(tmp_path, tensors)
    whole = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert main(["verify", str(tmp_path)]) == 0
    assert "11 clips in 3 shards, all whole" in capsys.readouterr().out
    damaged = tmp_path / "shard_00001.safetensors"
    draw = np.random.default_rng(0)
    for place in (3, 20, *draw.integers(len(whole[damaged.name]), size=10).tolist()):
        content = bytearray(whole[damaged.name])
        content[place] ^= 1
        damaged.write_bytes(content)
        assert main(["verify", str(tmp_path)]) == 2
        assert "missing or damaged: shard_00001.safetensors;" in capsys.readouterr().err
        assert writer(tmp_path, 11, 4).missing(0, 1) == [1]
    write(tmp_path, tensors)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == whole
    for name in ("manifest.json", "videos.json", "shard_00002.sha256"):
        (tmp_path / name).write_bytes(whole[name][: len(whole[name]) // 2])
        write(tmp_path, tensors)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == whole
    damaged.write_bytes(whole[damaged.name][:-5])
    with pytest.raises(UserError, match="cut short"):
        LatentCache(tmp_path).load()
    subprocess.run(["sha256sum", "-c", "--quiet", "shard_00000.sha256"], cwd=tmp_path, check=True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"autoencoder": "b" * 64}, "another autoencoder (aaaaaaaa.*, not bbbbbbbb"),
        ({"seed": 3}, r"another seed \(0, not 3\)"),
        ({"precision": "bf16"}, r"another precision \(fp32, not bf16\)"),
        ({"flipped": True}, "another flipped"),
    ],
)
def test_latents_of_another_plan_are_refused(tmp_path, change, said):
    write(tmp_path, random_latents(6, SHAPES))
    with pytest.raises(UserError, match=said.replace("(aaaa", r"\(aaaa")):
        writer(tmp_path, 6, 4, **change)


def test_folders_that_hold_no_cache_are_one_line(tmp_path, capsys):
    write(tmp_path / "cache", random_latents(6, SHAPES))
    old = json.loads((tmp_path / "cache" / "manifest.json").read_text()) | {"schema": 1}
    for content, said in ((json.dumps(old), "another schema (1, not 2)"), ("{", "is damaged"), (None, "unfinished")):
        if content is None:
            (tmp_path / "cache" / "manifest.json").unlink()
        else:
            (tmp_path / "cache" / "manifest.json").write_text(content)
        assert main(["info", str(tmp_path / "cache")]) == 2
        assert said in capsys.readouterr().err
    assert main(["info", str(tmp_path)]) == 2
    assert "no latent cache" in capsys.readouterr().err


def test_info_says_what_a_cache_holds(tmp_path, capsys):
    write(tmp_path, random_latents(11, SHAPES), precision="fp16")
    assert main(["info", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    for said in (
        "11 clips of split train",
        "4x16x16 at 8 fps",
        "84 values a clip",
        "structure_mean in fp16 against",
    ):
        assert said in printed


def test_latents_that_a_precision_cannot_hold_are_refused(tmp_path):
    tensors = random_latents(4, SHAPES)
    tensors["dynamics_mean"][2] = 1e5
    with pytest.raises(UserError, match="not finite once they are fp16"):
        write(tmp_path, tensors, precision="fp16")


DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.mark.parametrize("device", DEVICES)
def test_both_ways_of_reading_give_the_same_batches(tmp_path, device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    cache = write(tmp_path, random_latents(23, SHAPES), precision="bf16")
    names, device = ("label", *MOMENTS), torch.device(device)
    order = [torch.randint(23, (6,), generator=torch.Generator().manual_seed(i)).tolist() for i in range(5)]
    resident, streamed = (kind(cache, names, device).batches(order) for kind in (ResidentLatents, StreamedLatents))
    for chosen, (clips, one), (same, other) in zip(order, resident, streamed, strict=True):
        assert clips == same == chosen
        for name in names:
            assert one[name].device.type == other[name].device.type == device.type
            assert torch.equal(one[name], other[name])


def test_free_memory_decides_where_the_latents_lie(tmp_path, monkeypatch):
    cache = write(tmp_path, random_latents(23, SHAPES))
    needed = 23 * (24 + 60) * 4
    assert cache.bytes_of(["structure_mean", "dynamics_mean"]) == needed
    memory = psutil.virtual_memory()
    for free, kind, how in (
        (2 * needed, ResidentLatents, "kept on"),
        (2 * needed - 1, StreamedLatents, "streamed"),
    ):
        monkeypatch.setattr(psutil, "virtual_memory", lambda free=free: memory._replace(available=free))
        source, said = latent_source.latent_source(cache, ["structure_mean", "dynamics_mean"], torch.device("cpu"))
        assert isinstance(source, kind)
        assert how in said


def test_a_shard_is_stored_as_plain_safetensors(tmp_path):
    tensors = random_latents(6, SHAPES)
    write(tmp_path, tensors)
    stored = load_file(tmp_path / "shard_00001.safetensors")
    assert all(torch.equal(stored[name], tensors[name][4:]) for name in tensors)
