"""Caching latents: the same bytes however many processes write and however often they are killed."""

import json
import random
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from PIL import Image

from autoencoder import cache as caching
from autoencoder.cache import CacheConfig, cache_split, main
from autoencoder.model import VidTwin
from autoencoder.stage1.clips import indexed
from autoencoder.stage1.config import Stage1Config
from data.latents import LatentCache
from data.latents.cache import describe
from data.latents.channel_statistics import MOMENTS
from data.latents.clips import ChosenClips, ClipChoice
from data.video.frames import probe, stream_frames
from runtime.config import dump, load
from runtime.errors import UserError
from runtime.weights import load_model

SETTINGS = ("--splits", "[train]", "--clips_per_video", "3", "--shard_size", "8", "--batch_size", "4")

# Runs the caching in a process that kills itself on the n-th call of `Path.replace` on a file with this suffix,
# before it or after it.
KILLED = """
import os, signal, sys
from pathlib import Path
moment, suffix, fatal = sys.argv[1], sys.argv[2], int(sys.argv[3])
original, calls = Path.replace, []
def counted(self, target):
    if str(target).endswith(suffix):
        calls.append(target)
    if len(calls) == fatal and moment == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    original(self, target)
    if len(calls) == fatal:
        os.kill(os.getpid(), signal.SIGKILL)
Path.replace = counted
from autoencoder.cache import main
sys.exit(main(sys.argv[4:]))
"""


@pytest.fixture
def copy_run(stage1_run, tmp_path):
    """The run without latents, under another name."""

    def copy(name):
        ignored = shutil.ignore_patterns("checkpoints", "tensorboard", ".lock", "latents")
        return shutil.copytree(stage1_run, tmp_path / name, ignore=ignored)

    return copy


@pytest.fixture
def cached_run(copy_run, whole):
    """The run with its finished cache of training clips."""
    run = copy_run("run")
    folder = run / "latents" / "train"
    folder.mkdir(parents=True)
    for name, content in whole.items():
        (folder / name).write_bytes(content)
    return run


THREADS = {"OMP_NUM_THREADS": str(torch.get_num_threads())}  # of every process alike: they decide the last bits


def cached(run, split="train"):
    return {path.name: path.read_bytes() for path in (run / "latents" / split).iterdir()}


def finish(run):
    """In this process."""
    assert main(["--run", str(run), *SETTINGS]) == 0


@pytest.fixture(scope="module")
def whole(processes, stage1_run, tmp_path_factory):
    """What one process writes that nobody stops."""
    run = tmp_path_factory.mktemp("whole") / "run"
    shutil.copytree(stage1_run, run, ignore=shutil.ignore_patterns("checkpoints", "tensorboard", ".lock", "latents"))
    finish(run)
    return cached(run)


def test_data_sets_that_training_saw_besides_are_not_cached(copy_run, whole, builtin_set):
    """Their clips have no class, which stage two needs of each."""
    run = copy_run("besides")
    config = load(Stage1Config, run / "config.yaml", ["--data.also", f"[{builtin_set}]"])
    (run / "config.yaml").write_text(dump(config))
    finish(run)
    assert cached(run) == whole


@pytest.mark.parametrize(
    ("moment", "suffix", "call", "shards"),
    [
        ("before", ".safetensors", 3, 2),  # inside the third shard: its checksum stands, it does not
        pytest.param("after", ".safetensors", 3, 3, marks=pytest.mark.full),  # the third shard has just appeared
        ("before", "manifest.json", 1, 12),  # all shards are there, the mark of completeness is not
    ],
)
def test_a_kill_loses_at_most_a_shard_and_changes_no_byte(copy_run, whole, start, moment, suffix, call, shards):
    run = copy_run("run")
    killed = start("-c", KILLED, moment, suffix, str(call), "--run", str(run), *SETTINGS, env=THREADS)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    left = cached(run)
    assert sum(name.endswith(".safetensors") and not name.startswith(".") for name in left) == shards
    assert all(whole[name] == content for name, content in left.items() if not name.startswith("."))
    with pytest.raises(UserError, match="unfinished"):
        LatentCache(run / "latents" / "train")
    finish(run)
    assert cached(run) == whole


@pytest.mark.full
def test_twenty_kills_at_random_moments_change_no_byte(copy_run, whole, start):
    """Each kill after some more files have appeared, or been begun."""
    run, draw, kills = copy_run("run"), random.Random(0), 0
    while kills < 20:
        if len(list((run / "latents" / "train").glob("shard_*.safetensors"))) >= 9:
            shutil.rmtree(run / "latents")
        before = {path: path.stat().st_mtime_ns for path in run.rglob("latents/train/*")}
        process = start("-m", "autoencoder.cache", "--run", str(run), *SETTINGS, env=THREADS)
        patience, wanted = time.monotonic() + 60, draw.randrange(1, 4)
        while process.poll() is None and time.monotonic() < patience:
            after = {path: path.stat().st_mtime_ns for path in run.rglob("latents/train/*") if path.exists()}
            if len(after.items() - before.items()) >= wanted:
                break
            time.sleep(0.001)
        time.sleep(draw.random() * 0.05)
        process.kill()
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
        assert all(whole[n] == c for n, c in cached(run).items() if not n.startswith("."))
    finish(run)
    assert cached(run) == whole


def test_two_processes_write_what_one_does(copy_run, whole, launch):
    run = copy_run("run")
    done = launch("autoencoder.cache", "--run", str(run), *SETTINGS, ranks=2, env=THREADS)
    assert done.returncode == 0, done.stderr
    assert cached(run) == whole


def test_a_damaged_shard_of_a_finished_cache_is_written_again(processes, cached_run, whole):
    folder = cached_run / "latents" / "train"
    untouched = (folder / "shard_00001.safetensors").stat().st_mtime_ns
    damaged = bytearray(whole["shard_00004.safetensors"])
    damaged[len(damaged) // 2] ^= 1
    (folder / "shard_00004.safetensors").write_bytes(damaged)
    finish(cached_run)
    assert cached(cached_run) == whole
    assert (folder / "shard_00001.safetensors").stat().st_mtime_ns == untouched


@pytest.fixture
def small_disk(tmp_path):
    """A file system that holds some shards, not all."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(place)]
    if subprocess.run(mounted, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk_is_one_line_and_the_cache_goes_on_elsewhere(processes, copy_run, whole, small_disk, capsys):
    run = copy_run("run")
    (run / "latents").symlink_to(small_disk)
    assert main(["--run", str(run), *SETTINGS]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "No space left on device" in line
    assert "make room" in line
    left = cached(run)
    assert any(name.startswith("shard_") for name in left)
    assert not any(name.startswith(".") for name in left)
    (run / "latents").unlink()
    shutil.copytree(small_disk, run / "latents")
    finish(run)
    assert cached(run).keys() == whole.keys()
    assert all(cached(run)[name] == whole[name] for name in left)


def test_a_file_that_turns_bad_ends_the_caching(processes, copy_run, builtin_set, tmp_path):
    """No other video's clip takes its place; put back, it changes no byte."""
    data = shutil.copytree(builtin_set, tmp_path / "data")
    run = copy_run("run")
    places = ["--data.root", str(data), "--run", str(run)]
    config = load(Stage1Config, run / "config.yaml", places)
    model, settings = load_model(VidTwin, run / "weights/ema"), CacheConfig(run=str(run), shard_size=8, batch_size=4)
    cache_split(settings, config, model, "test")
    expected = cached(run, "test")
    shutil.rmtree(run / "latents")
    index = indexed(config, "test")
    victim = index.videos[9].path
    content = victim.read_bytes()

    class Vanishing(ChosenClips):
        def window(self, number, video):
            if video == 5:
                victim.unlink(missing_ok=True)
            return super().window(number, video)

    streamed = load(Stage1Config, run / "config.yaml", [*places, "--data.in_memory", "false"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(caching, "ChosenClips", Vanishing)
        with pytest.raises(UserError, match=f"{victim.name}.*put it back") as error:
            cache_split(CacheConfig(run=str(run), shard_size=8, batch_size=4, workers=0), streamed, model, "test")
    assert len(str(error.value).splitlines()) == 1
    assert "shard_00000.safetensors" in cached(run, "test")
    victim.write_bytes(content)
    cache_split(settings, config, model, "test")
    assert cached(run, "test") == expected


def test_all_windows_cover_a_video(builtin_set):
    """Each frame that the clip's rate shows is in some window, none overlap but the last, which ends with the video."""
    path = next(builtin_set.rglob("*.avi"))
    found = probe(path)
    for frames, fps in ((175, 25.0), (15, 25.0), (16, 8.0), (33, 8.0), (500, 30.0)):
        video = replace(found, frames=frames, fps=fps)
        choice = ClipChoice(16, 8.0, "all", False, 0)
        windows = [choice.window(video, 0, k) for k in range(choice.windows(video))]
        shown = sorted({i for indices, _, _ in windows for i in indices.tolist()})
        assert shown[0] == 0
        assert frames - 1 - shown[-1] <= 1
        assert all(b - a <= fps / 8.0 + 1 for a, b in pairwise(shown))
        starts = [start for _, start, _ in windows]
        assert all(b - a == pytest.approx(16 * fps / 8.0) for a, b in pairwise(starts[:-1]))
        assert not any(flip for _, _, flip in windows)
        mirrored = ClipChoice(16, 8.0, "all", True, 0)
        for k, (indices, start, _) in enumerate(windows):
            for flip in (False, True):
                again = mirrored.window(video, 0, 2 * k + flip)
                assert torch.equal(again[0], indices)
                assert again[1:] == (start, flip)


def test_every_window_and_its_mirror_image_are_cached(processes, copy_run):
    """A clip of the cache is the encoder's answer to frames read with another decoder."""
    run = copy_run("run")
    config, model = load(Stage1Config, run / "config.yaml"), load_model(VidTwin, run / "weights/ema")
    settings = CacheConfig(run=str(run), clips_per_video="all", flipped=True, precision="fp16", shard_size=64)
    cache = LatentCache(cache_split(settings, config, model, "test"))
    index = indexed(config, "test")
    tensors = cache.load()
    per_video = torch.bincount(tensors["video"])
    for video, info in enumerate(index.videos):
        seconds = info.frames / info.fps
        assert per_video[video] == 2 * -(-seconds * 8 // 4) or abs(seconds * 8 % 4) < 1
    names = [index.names[video] for video in tensors["video"].tolist()]
    assert list(cache.clip_names) == names
    clip = 2 + int((tensors["video"] == 0).nonzero()[0])
    frames = torch.stack(list(stream_frames(index.videos[0].path)))
    first = int(tensors["first_frame"][clip])
    assert first == int(tensors["first_frame"][clip + 1]) == round(4 * index.videos[0].fps / 8)
    assert len(frames) > first
    error = cache.manifest["rounding"]["structure_mean"]
    assert 0 < error["rms"] < error["max"] < 1e-2


def test_what_was_computed_in_another_precision_is_refused(processes, copy_run, capsys):
    """The moments are stored as they were: in float32, unless `--precision` says otherwise."""
    exact, coarse = copy_run("exact"), copy_run("coarse")
    command = ["--splits", "[test]", "--run"]
    assert main([*command, str(exact)]) == 0
    assert main([*command, str(coarse), "--compute", "bf16"]) == 0
    caches = [LatentCache(run / "latents/test") for run in (exact, coarse)]
    assert [cache.manifest["compute"] for cache in caches] == ["fp32", "bf16"]
    expected, found = (cache.load() for cache in caches)
    for name in MOMENTS:
        assert found[name].dtype == torch.float32
        assert 0 < (found[name] - expected[name]).norm() < 0.03 * expected[name].norm()
    capsys.readouterr()
    assert main([*command, str(coarse)]) == 2
    assert "latents of another compute (bf16, not fp32)" in capsys.readouterr().err


def test_a_cache_that_does_not_say_what_computed_it_is_of_float32(processes, cached_run, whole):
    folder = cached_run / "latents" / "train"
    for name in ("plan.json", "manifest.json"):
        content = json.loads(whole[name])
        del content["compute"]
        (folder / name).write_text(json.dumps(content))
    untouched = (folder / "shard_00001.safetensors").stat().st_mtime_ns
    assert "encoded 4 at a time in fp32" in describe(LatentCache(folder))
    finish(cached_run)
    assert (folder / "shard_00001.safetensors").stat().st_mtime_ns == untouched
    assert main(["--run", str(cached_run), *SETTINGS, "--compute", "bf16"]) == 2


def test_some_clips_are_shown_beside_their_originals(processes, copy_run, capsys):
    run = copy_run("run")
    assert main(["show", str(run / "latents/test"), "--weights", str(run / "weights/ema")]) == 2
    assert "no latent cache" in capsys.readouterr().err
    finish(run)
    arguments = ["show", str(run / "latents/train"), "--weights", str(run / "weights/ema"), "--num", "5"]
    assert main(arguments) == 0
    with Image.open(run / "latents/train.png") as picture:
        assert picture.size == (4 * 2 * 16, 2 * 16)
    frames = torch.stack(list(stream_frames(run / "latents/train.mp4")))
    assert frames.shape == (4, 32, 128, 3)
    assert main([*arguments[:3], str(run / "weights/raw")]) == 2
    assert "was encoded by autoencoder" in capsys.readouterr().err


def test_bad_settings_are_one_line(copy_run, capsys):
    run = copy_run("run")
    for arguments, said in (
        (["--clips_per_video", "0"], "--clips_per_video must be at least 1"),
        (["--precision", "fp8"], "precision"),
        (["--shard_size", "0"], "--shard_size must be at least 1"),
    ):
        assert main(["--run", str(run), *arguments]) == 2
        assert said in capsys.readouterr().err.splitlines()[-1]
