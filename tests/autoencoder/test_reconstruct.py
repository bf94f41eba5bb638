"""Whole videos through a model of a few frames: every frame once, at the right rate; bad calls in one line."""

import shutil
import weakref

import pytest
import torch

from autoencoder.reconstruct import main
from autoencoder.trained.windows import windows
from data.video.frames import decode_all, probe, write_video


@pytest.mark.parametrize("count", [1, 3, 4, 5, 8, 11])
def test_windows_hold_every_frame_exactly_once(count):
    frames = [torch.tensor(i) for i in range(count)]
    kept = []
    for window, new in windows(frames, 4):
        assert len(window) == 4
        assert (window.diff() >= 0).all()
        kept += window[new].tolist()
    assert kept == list(range(count))


def test_no_more_than_a_window_of_frames_is_held():
    """However long the video: it is read one window ahead of what is written, and what was read is let go."""
    alive = weakref.WeakSet()

    def endless():
        while True:
            frame = torch.zeros(2, 2, 3)
            alive.add(frame)
            yield frame
            del frame

    counts = [len(alive) for _, _ in zip(range(20), windows(endless(), 4), strict=False)]
    assert max(counts) <= 5


@pytest.fixture
def videos(tmp_path):
    for name, count in (("long", 11), ("short", 3)):
        moving = torch.linspace(0, 255, 40).byte().expand(24, 40)[None, ..., None].expand(count, -1, -1, 3).clone()
        for i in range(count):
            moving[i, :, 3 * i : 3 * i + 8] = 255
        write_video(tmp_path / f"{name}.mp4", moving, 30000 / 1001)
    return tmp_path


def test_a_video_keeps_its_frames_and_rate(stage1_run, videos):
    weights, out = str(stage1_run / "weights/ema"), videos / "out.mp4"
    for name, count in (("long", 11), ("short", 3)):
        assert main(["--weights", weights, str(videos / f"{name}.mp4"), "--out", str(out)]) == 0
        info = probe(out)
        assert (info.frames, info.height, info.width) == (count, 16, 64)
        assert info.fps == pytest.approx(30000 / 1001)
    pair = ["--structure-from", str(videos / "long.mp4"), "--dynamics-from", str(videos / "short.mp4")]
    assert main(["--weights", weights, *pair, "--out", str(out)]) == 0
    assert (probe(out).frames, probe(out).width) == (3, 48)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_first_panel_is_the_video(stage1_run, videos, precision):
    weights, out = str(stage1_run / "weights/ema"), videos / "o.mp4"
    assert main(["--weights", weights, str(videos / "long.mp4"), "--out", str(out), "--precision", precision]) == 0
    original = decode_all(probe(videos / "long.mp4"), (16, 16)).float()
    panel = decode_all(probe(out))[:, :, :16].float()
    assert (panel - original).abs().mean() < 8


def test_wrong_calls_are_one_line(stage1_run, videos, capsys):
    weights = ["--weights", str(stage1_run / "weights/ema")]
    long = str(videos / "long.mp4")
    (videos / "text.mp4").write_text("no video")
    for arguments in (
        weights,
        [*weights, long, "--structure-from", long],
        [*weights, "--structure-from", long],
        [*weights, str(videos / "text.mp4"), "--out", str(videos / "x.mp4")],
        ["--weights", str(videos), long],
    ):
        assert main(arguments) == 2
        assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not (videos / "x.mp4").exists()
    shutil.rmtree(videos)


@pytest.fixture
def folder(videos):
    """Four videos in two levels, two of them of one stem, and one file that is none."""
    home = videos / "home"
    (home / "deep").mkdir(parents=True)
    shutil.copy(videos / "long.mp4", home / "deep" / "long.mkv")
    for name in ("short.mp4", "short.avi", "deep/short.mov"):
        shutil.copy(videos / "short.mp4", home / name)
    (home / "text.mp4").write_text("no video")
    return home


WRITTEN = {"deep/long.mp4": 11, "deep/short.mp4": 3, "short.avi.mp4": 3, "short.mp4.mp4": 3}


def written(out):
    return {path.relative_to(out).as_posix(): probe(path).frames for path in out.rglob("*.mp4")}


def test_a_folder_is_mirrored_and_bad_files_are_named(stage1_run, folder, capsys):
    call = ["--weights", str(stage1_run / "weights/ema"), str(folder), "--out", str(folder.parent / "out")]
    assert main(call) == 0
    said = capsys.readouterr()
    assert written(folder.parent / "out") == WRITTEN
    assert [line for line in said.err.splitlines() if "text.mp4" in line and "left out" in line]
    assert said.out.splitlines()[-1].endswith("out: 4 written, 0 already there, 1 bad")


def test_a_second_run_goes_on_where_the_first_stopped(stage1_run, folder, capsys, monkeypatch):
    """Also where the default place lies inside the folder: what was written is not taken for a video to do."""
    monkeypatch.chdir(folder)
    call, out = ["--weights", str(stage1_run / "weights/ema"), "."], folder / "home-vidtwin"
    assert main(call) == 0
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*.mp4")}
    (out / "deep/long.mp4").unlink()
    assert main(call) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "home-vidtwin: 1 written, 3 already there, 1 bad"
    assert written(out) == WRITTEN
    changed = {path for path in times if path.stat().st_mtime_ns != times[path]}
    assert changed == {out / "deep/long.mp4"}
    assert main([*call, "--precision", "bf16"]) == 2
    assert "in another precision than bf16" in capsys.readouterr().err


def test_a_folder_without_a_readable_video_or_of_other_weights_is_one_line(stage1_run, folder, capsys):
    (folder.parent / "empty").mkdir()
    (folder.parent / "bad").mkdir()
    shutil.copy(folder / "text.mp4", folder.parent / "bad")
    out = folder.parent / "out"
    out.mkdir()
    (out / "weights.json").write_text('{"weights": "other"}')
    weights = ["--weights", str(stage1_run / "weights/ema")]
    for place, to, said in (
        ("empty", "new", "holds no videos"),
        ("bad", "new", "none of the 1 videos"),
        ("home", "home", "the folder of the videos themselves"),
        ("home", "out", "by other weights"),
        ("home", "long.mp4", "is a file"),
    ):
        assert main([*weights, str(folder.parent / place), "--out", str(folder.parent / to)]) == 2
        assert said in capsys.readouterr().err.splitlines()[-1]
    assert not written(out)
