"""FVD from files to figure, with a small network of the I3D's signature in its place."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from data.shards.pack import main as pack
from data.video.frames import decode_all, probe, write_video
from eval.features.i3d import I3D
from eval.fvd import main
from eval.metrics.gaussian import fit, frechet_distance
from eval.metrics.mmd import kernel_distance
from tests.conftest import clean_environment
from tests.eval.stand_ins import StandIn, videos

ROOT = Path(__file__).parents[2]

# torch marks TorchScript as deprecated; the published network exists in no other form.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = tmp_path_factory.mktemp("network") / "stand_in.pt"
    torch.jit.script(StandIn()).save(path)
    return path


@pytest.fixture
def fvd(network, processes, capsys, tmp_path):
    """Run the command; what its JSON file holds, or its error, and what it said."""

    def run(*arguments, code=0):
        out = tmp_path / "result" / "fvd.json"
        given = "--resamples", "0", "--features", network, "--output", out, *arguments
        assert main([str(each) for each in given]) == code, capsys.readouterr().err
        said = capsys.readouterr()
        if code:
            [error] = [line for line in said.err.splitlines() if line.startswith("error: ")]
            return error
        return json.loads(out.read_text()), said

    return run


def distance(network, real, generated):
    return frechet_distance(*(fit(I3D(network)(side)) for side in (real, generated)))


def write_videos(folder, every, fps=25):
    for i, video in enumerate(every):
        path = folder / f"class{i % 2}" / f"{i}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, video, fps)
    return folder


def test_every_kind_of_array_gives_the_direct_figure(network, fvd, tmp_path):
    real, generated = videos(9, 0), videos(7, 1)
    np.savez_compressed(tmp_path / "real.npz", videos=real.numpy())
    (tmp_path / "samples").mkdir()
    save_file({"videos": generated}, tmp_path / "samples" / "samples.safetensors")
    np.save(tmp_path / "real.npy", real.numpy())
    torch.save({"videos": generated}, tmp_path / "generated.pt")
    expected = distance(network, real, generated)
    for sides in (("real.npz", "samples"), ("real.npy", "generated.pt")):
        result, said = fvd(*(tmp_path / side for side in sides), "--batch-size", 4)
        assert result["fvd"] == pytest.approx(expected, rel=1e-5)
        assert (result["num_real"], result["num_generated"], result["protocol"]) == (9, 7, "custom")
        assert (result["features"]["file"], len(result["features"]["sha256"])) == ("stand_in.pt", 64)
        assert result["verified"] is False
    features = (I3D(network)(side) for side in (real, generated))
    assert result["kernel_distance"] == pytest.approx(kernel_distance(*features), rel=1e-5)
    assert "not that of the known I3D" in said.err
    assert "singular covariance" in said.err


def test_folders_take_windows_of_their_files_and_name_the_bad_ones(network, fvd, tmp_path):
    for side, count in (("real", 4), ("generated", 3)):
        write_videos(tmp_path / side, videos(count, 10 + count))
    write_video(tmp_path / "real" / "short.mp4", videos(1, 3)[0, :9], 25)
    (tmp_path / "real" / "broken.mp4").write_text("no video")
    result, said = fvd(tmp_path / "real", tmp_path / "generated")
    assert (result["num_real"], result["num_generated"]) == (4, 3)
    assert sorted(result["real"]["left_out"]) == ["broken.mp4", "short.mp4"]
    assert "real: 2 files are broken or too short and left out: broken.mp4: is no video" in said.out
    decoded = [
        torch.stack([decode_all(probe(path)) for path in sorted((tmp_path / side).rglob("class*/*.mp4"))])
        for side in ("real", "generated")
    ]
    assert result["fvd"] == pytest.approx(distance(network, *decoded), rel=1e-5)


def test_a_file_that_breaks_after_it_was_indexed_gives_way_to_another(fvd, tmp_path):
    real = write_videos(tmp_path / "real", videos(6, 0))
    np.save(tmp_path / "generated.npy", videos(4, 1).numpy())
    first, _ = fvd(real, tmp_path / "generated.npy", "--num_real", 4)
    broken = real / "class0/2.mp4"
    stamp = broken.stat()
    broken.write_bytes(b"\0" * stamp.st_size)
    os.utime(broken, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # the index is none the wiser
    second, _ = fvd(real, tmp_path / "generated.npy", "--num_real", 5)
    assert (first["num_real"], second["num_real"]) == (4, 5)
    assert second["real"]["left_out"] == ["class0/2.mp4"]
    assert "custom needs 6 real videos, there are 5" in fvd(real, tmp_path / "generated.npy", "--num_real", 6, code=2)


def test_packed_shards_are_the_folder_that_was_packed(network, fvd, tmp_path, capsys):
    folder = write_videos(tmp_path / "whole", videos(5, 0))
    np.save(tmp_path / "generated.npy", videos(4, 1).numpy())
    assert pack(["pack", str(folder), str(tmp_path / "packed")]) == 0
    capsys.readouterr()
    (folder / "class0/0.mp4").unlink()  # which packing holds out
    packed, plain = (fvd(side, tmp_path / "generated.npy")[0] for side in (tmp_path / "packed", folder))
    assert packed["num_real"] == plain["num_real"] == 4
    assert packed["fvd"] == pytest.approx(plain["fvd"], rel=1e-6)


def test_files_are_cut_to_the_size_of_arrays_and_arrays_to_none(network, fvd, tmp_path):
    real = write_videos(tmp_path / "real", videos(4, 0, h=48, w=64))
    np.save(tmp_path / "generated.npy", videos(3, 1).numpy())
    result, _ = fvd(real, tmp_path / "generated.npy")
    cut = torch.stack([decode_all(probe(path), (24, 32)) for path in sorted(real.rglob("*.mp4"))])
    assert result["fvd"] == pytest.approx(distance(network, cut, videos(3, 1)), rel=1e-5)
    assert "24x32" in result["protocol_string"]
    assert "give both at one size" in fvd(real, tmp_path / "generated.npy", "--size", 48, 64, code=2)


def test_a_stride_is_the_same_on_both_sides(network, fvd, tmp_path):
    real, generated = videos(5, 0, t=31), videos(5, 1, t=31)
    for name, array in (("real", real), ("generated", generated)):
        np.save(tmp_path / f"{name}.npy", array.numpy())
    result, _ = fvd(tmp_path / "real.npy", tmp_path / "generated.npy", "--frame-stride", 2)
    assert result["fvd"] == pytest.approx(distance(network, real[:, ::2], generated[:, ::2]), rel=1e-5)


def test_the_protocol_string_repeats_the_figure(fvd, tmp_path):
    real = write_videos(tmp_path / "real", videos(6, 0, t=40))
    np.save(tmp_path / "generated.npy", videos(7, 1).numpy())
    options = "--num_real", 4, "--num_generated", 5, "--fps", 12.5, "--seed", 3
    first, said = fvd(real, tmp_path / "generated.npy", *options)
    line = first["protocol_string"]
    assert line in said.out
    for fact in (
        "real 4 of 6 at 12.5 fps",
        first["features"]["sha256"],
        "unbiased (n - 1)",
        "224x224 bilinear",
        "[-1, 1]",
    ):
        assert fact in line.partition("#")[2]
    again, _ = fvd(real, tmp_path / "generated.npy", *shlex.split(line, comments=True))
    assert again == first
    other, _ = fvd(real, tmp_path / "generated.npy", *options[:-1], 4)
    assert other["fvd"] != first["fvd"]


def test_saved_statistics_take_the_place_of_the_videos(fvd, tmp_path):
    real = write_videos(tmp_path / "real", videos(5, 0))
    np.save(tmp_path / "generated.npy", videos(4, 1).numpy())
    saved = tmp_path / "kept" / "real.safetensors"
    first, _ = fvd(real, tmp_path / "generated.npy", "--save_statistics", saved)
    second, _ = fvd(saved, tmp_path / "generated.npy")
    assert second == first
    swapped, _ = fvd(tmp_path / "generated.npy", saved)
    assert swapped["fvd"] == pytest.approx(first["fvd"], rel=1e-9)
    both, _ = fvd(saved, tmp_path / "generated.npy", "--save_statistics", tmp_path / "copy.safetensors")
    assert both["fvd"] == first["fvd"]
    assert fvd(saved, tmp_path / "copy.safetensors", code=2).startswith("error: all 5 videos of one side")
    for options, message in (
        (("--frames", 12), "holds features with frames 16, the other side has 12"),
        (("--checks",), "--checks needs the real videos themselves"),
        (("--protocol", "heldout"), "measures against UCF-101 testlist01"),
    ):
        assert message in fvd(saved, tmp_path / "generated.npy", *options, code=2)
    np.save(tmp_path / "large.npy", videos(4, 1, h=48).numpy())
    assert "real videos have 24x32, generated ones 48x32" in fvd(saved, tmp_path / "large.npy", code=2)


def test_a_changed_file_loses_its_own_features_only(fvd, tmp_path, monkeypatch):
    computed, whole = [], I3D.__call__
    monkeypatch.setattr(I3D, "__call__", lambda self, batch: computed.append(len(batch)) or whole(self, batch))

    def features_computed(*arguments):
        computed.clear()
        fvd(tmp_path / "real", tmp_path / "generated.npy", *arguments)
        return sum(computed)

    write_videos(tmp_path / "real", videos(6, 0))
    np.save(tmp_path / "generated.npy", videos(4, 1).numpy())
    assert features_computed() == 10
    assert features_computed() == 0
    write_video(tmp_path / "real/class0/2.mp4", videos(1, 9)[0], 25)
    assert features_computed() == 1
    write_video(tmp_path / "real/class0/another.mp4", videos(1, 8)[0], 25)
    assert features_computed() == 1
    array = videos(4, 1)
    array[2] = 255 - array[2]
    np.save(tmp_path / "generated.npy", array.numpy())
    assert features_computed() == 1
    assert features_computed("--frames", 12) == 11  # another window


def test_interval_sweep_and_checks_stand_beside_the_figure(fvd, network, tmp_path):
    real, generated = videos(12, 0), videos(6, 1)
    np.save(tmp_path / "real.npy", real.numpy())
    np.save(tmp_path / "generated.npy", (generated // 2).numpy())
    options = "--num_real", 6, "--resamples", 20, "--checks"
    result, said = fvd(tmp_path / "real.npy", tmp_path / "generated.npy", *options)
    low, high = result["interval"]
    assert low < result["fvd"] < high
    assert result["sweep"][-1] == {"count": 6, "distance": pytest.approx(result["fvd"], rel=1e-6)}
    assert result["fvd_infinity"] is None
    assert "too few videos to extrapolate" in said.err
    floor, order = result["checks"]["floor"], result["checks"]["order"]
    assert floor["count"] == 6
    assert floor["real"] < floor["generated"] == pytest.approx(result["fvd"], rel=1e-6)
    assert set(order) == {"shuffled", "unshuffled", "passed"}
    with Image.open(tmp_path / "result/fvd.png") as picture:
        assert min(picture.size) > 300


def test_shuffled_frames_of_moving_videos_score_worse(fvd, tmp_path):
    """Brightness that rises through a clip: a network with a time axis sees its order."""
    numbers = torch.Generator().manual_seed(0)
    level = torch.linspace(30, 220, 16) + 10 * torch.randn(24, 1, generator=numbers)
    moving = level[:, :, None, None, None].expand(-1, -1, 24, 32, 3).clamp(0, 255).byte()
    for name, part in (("real", moving[:16]), ("generated", moving[16:])):
        np.save(tmp_path / f"{name}.npy", part.numpy())
    result, said = fvd(tmp_path / "real.npy", tmp_path / "generated.npy", "--checks")
    order = result["checks"]["order"]
    assert order["passed"]
    assert order["shuffled"] > 5 * order["unshuffled"]
    assert "do not see motion" not in said.err


@pytest.mark.full
def test_two_processes_give_what_one_does(fvd, network, launch, tmp_path):
    real = write_videos(tmp_path / "real", videos(7, 0))
    (real / "class0" / "broken.mp4").write_text("no video")
    np.savez_compressed(tmp_path / "generated.npz", videos=videos(5, 1).numpy())
    one, _ = fvd(real, tmp_path / "generated.npz", "--checks", "--resamples", 20)
    out = tmp_path / "two.json"
    options = "--checks", "--resamples", "20", "--features", str(network), "--output", str(out)
    options += "--cache", str(tmp_path / "other")  # or nothing were left to compute
    done = launch("eval.fvd", str(real), str(tmp_path / "generated.npz"), *options, ranks=2)
    assert done.returncode == 0, done.stderr
    two = json.loads(out.read_text())
    for name in ("fvd", "kernel_distance", "interval"):
        assert two.pop(name) == pytest.approx(one.pop(name), rel=1e-5)
    assert two["checks"]["floor"] == pytest.approx(one["checks"]["floor"], rel=1e-5)
    assert (two["protocol_string"], two["real"]) == (one["protocol_string"], one["real"])
    assert done.stdout.count("FVD ") == 1
    done = launch("eval.fvd", str(real), str(real), *options, ranks=2)
    assert "error: REAL and GENERATED are both" in done.stderr
    assert done.stderr.count("error: ") == 1


@pytest.mark.full
def test_a_killed_extraction_goes_on_where_it_was(fvd, network, tmp_path):
    real, generated = (tmp_path / f"{name}.npy" for name in ("real", "generated"))
    np.save(real, videos(300, 0).numpy())
    np.save(generated, videos(20, 1).numpy())
    cache = tmp_path / "cache"
    command = sys.executable, "-m", "eval.fvd", real, generated, "--features", network, "--cache", cache
    process = subprocess.Popen(command, cwd=ROOT, env=clean_environment(), stderr=subprocess.DEVNULL)
    until = time.monotonic() + 240
    while not list(cache.rglob("*.safetensors")) and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert list(cache.rglob("*.safetensors"))
    result, _ = fvd(real, generated, "--cache", cache)
    fresh, _ = fvd(real, generated, "--cache", tmp_path / "empty")
    assert result["fvd"] == pytest.approx(fresh["fvd"], rel=1e-6)


@pytest.fixture(scope="module")
def mistakes(tmp_path_factory):
    """Inputs that are good, and not."""
    folder = tmp_path_factory.mktemp("mistakes")
    arrays = {
        "good": videos(3, 0).numpy(),
        "float": np.linspace(-1, 1, 3 * 16 * 24 * 32 * 3, dtype=np.float32).reshape(3, 16, 24, 32, 3),
        "unit": np.linspace(0, 1, 3 * 16 * 24 * 32 * 3, dtype=np.float32).reshape(3, 16, 24, 32, 3),
        "truncated": (videos(3, 0) > 127).byte().numpy(),
        "channels": np.zeros((3, 3, 16, 24, 32), np.uint8),
        "nine": videos(3, 0, t=9).numpy(),
        "large": videos(3, 0, h=48).numpy(),
        "one": videos(1, 5).numpy(),
        "none": videos(0, 0).numpy(),
        "copy": videos(3, 0).flip(0).numpy(),
        "other": videos(3, 1).numpy(),
    }
    for name, array in arrays.items():
        np.savez(folder / f"{name}.npz", videos=array)
    (folder / "text.npz").write_text("no array")
    (folder / "text.pt").write_text("no array")
    (folder / "empty").mkdir()
    (folder / "broken").mkdir()
    (folder / "broken/a.mp4").write_text("no video")
    write_videos(folder / "slow", videos(3, 2), fps=8)
    write_videos(folder / "fast", videos(3, 3), fps=25)
    write_videos(folder / "mixed/a", videos(3, 6), fps=25)
    write_videos(folder / "mixed/b", videos(3, 7), fps=30)
    write_videos(folder / "wide", videos(3, 4, w=64), fps=25)
    return folder


@pytest.mark.parametrize(
    ("real", "generated", "options", "message"),
    [
        ("good.npz", "nowhere", [], "no file or folder"),
        ("good.npz", "empty", [], "holds no videos"),
        (
            "good.npz",
            "broken",
            [],
            "holds no videos that can be read, and no samples.safetensors; the first of 1, a.mp4",
        ),
        ("good.npz", "text.npz", [], "no array 'videos'"),
        ("good.npz", "text.pt", [], "no array 'videos'"),
        ("good.npz", "float.npz", [], "float32 in [-1, 1]; convert ((x + 1) * 127.5)"),
        ("good.npz", "unit.npz", [], "convert (x * 255).round() to uint8"),
        ("good.npz", "truncated.npz", [], "are all 0 or 1; multiply by 255"),
        ("good.npz", "channels.npz", [], "of shape n t h w 3, not uint8 (3, 3, 16, 24, 32)"),
        ("good.npz", "none.npz", [], "videos is empty"),
        ("good.npz", "nine.npz", [], "have 9 frames, a clip takes 16"),
        ("good.npz", "nine.npz", ["--frames", "9"], "at least 10 frames"),
        ("good.npz", "large.npz", [], "real videos have 24x32, generated ones 48x32; give both at one size"),
        ("good.npz", "large.npz", ["--size", "24", "32"], "give both at one size, since a resize"),
        ("fast", "slow", [], "real clips run at 25 fps, generated ones at 8 fps"),
        ("mixed", "slow", [], "real clips run at 25 to 30 fps, generated ones at 8 fps"),
        ("fast", "wide", [], "say with --size HEIGHT WIDTH"),
        ("good.npz", "one.npz", [], "at least 2 samples"),
        ("good.npz", "good.npz", [], "are both"),
        ("good.npz", "copy.npz", [], "all 3 videos of one side are among the other's"),
        ("good.npz", "other.npz", ["--num_generated", "4"], "custom needs 4 generated videos, there are 3"),
        ("good.npz", "other.npz", ["--frames", "0"], "must be positive"),
        ("good.npz", "other.npz", ["--resamples", "5"], "at least 20, or 0 for none"),
        ("good.npz", "other.npz", ["--fps", "8", "--frame_stride", "2"], "either --fps or --frame_stride"),
        ("good.npz", "other.npz", ["--protocol", "styleganv-2048"], "give its folder"),
        ("good.npz", "other.npz", ["--protocol", "magvit-10k", "--frames", "17"], "defined with --frames 16, not 17"),
        (
            "good.npz",
            "other.npz",
            ["--features", "nowhere.pt"],
            "there is no file nowhere.pt: download i3d_torchscript",
        ),
        (
            "good.npz",
            "other.npz",
            ["--feature_network", "videomae", "--features", "nowhere.pth"],
            "download vit_g_hybrid",
        ),
    ],
)
def test_a_mistake_is_one_line_and_code_2(fvd, mistakes, real, generated, options, message):
    assert message in fvd(mistakes / real, mistakes / generated, *options, code=2)


def test_what_is_allowed_and_suspicious_is_said(fvd, tmp_path, mistakes):
    looped = videos(4, 1).repeat(2, 1, 1, 1, 1)
    looped[0] = videos(3, 0)[1]
    np.save(tmp_path / "looped.npy", looped.numpy())
    _, said = fvd(mistakes / "good.npz", tmp_path / "looped.npy")
    assert "1 videos are on both sides" in said.err
    assert "3 of 8 generated videos are copies of others" in said.err
    _, said = fvd(mistakes / "fast", mistakes / "other.npz")
    assert "real clips run at 25 fps; if the arrays do not" in said.err
    _, said = fvd(mistakes / "fast", mistakes / "other.npz", "--fps", 25)
    assert "if the arrays do not" not in said.err


def test_a_protocol_that_wants_more_videos_than_there_are_says_so(fvd, tmp_path):
    folder, lists = tmp_path / "set" / "UCF-101" / "Drift", tmp_path / "set" / "ucfTrainTestlist"
    folder.mkdir(parents=True)
    lists.mkdir()
    for i, video in enumerate(videos(3, 0, h=36, w=48)):
        write_video(folder / f"v_Drift_g01_c0{i}.mp4", video, 25)
    (lists / "classInd.txt").write_text("1 Drift\n")
    for split in ("train", "test"):
        text = "".join(f"Drift/v_Drift_g01_c0{i}.mp4 1\n" for i in range(3))
        (lists / f"{split}list01.txt").write_text(text)
    np.savez(tmp_path / "generated.npz", videos=videos(4, 1).numpy())
    sides = tmp_path / "set", tmp_path / "generated.npz"
    assert "needs 2048 real videos, there are 3" in fvd(*sides, "--protocol", "styleganv-2048", code=2)
    result, _ = fvd(*sides, "--protocol", "heldout")
    assert result["real"]["reference"] == "UCF-101 testlist01"
    assert result["clips"]["size"] == [24, 32]  # that of the generated ones
    assert result["protocol_string"].startswith("--protocol heldout --frames 16")


def test_without_the_network_the_error_says_what_it_is_and_where_it_goes(mistakes, capsys, processes, monkeypatch):
    monkeypatch.delenv("VIDTWIN_I3D", raising=False)
    code = main([str(mistakes / "good.npz"), str(mistakes / "other.npz")])
    said = capsys.readouterr()
    assert code == 2
    assert len(said.err.strip().splitlines()) == 1
    for needed in ("i3d_torchscript.pt", "common_metrics_on_video_quality", "--features", "VIDTWIN_I3D"):
        assert needed in said.err
