"""Whole videos through a model of a few frames: every frame once, at the right rate; bad calls in one line."""

import shutil

import pytest
import torch

from autoencoder.reconstruct import main
from autoencoder.windows import windows
from data.video import decode_all, probe, write_video


@pytest.mark.parametrize("count", [1, 3, 4, 5, 8, 11])
def test_windows_hold_every_frame_exactly_once(count):
    frames = [torch.tensor(i) for i in range(count)]
    kept = []
    for window, new in windows(frames, 4):
        assert len(window) == 4
        assert (window.diff() >= 0).all()
        kept += window[new].tolist()
    assert kept == list(range(count))


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


def test_the_first_panel_is_the_video(stage1_run, videos):
    assert (
        main(["--weights", str(stage1_run / "weights/ema"), str(videos / "long.mp4"), "--out", str(videos / "o.mp4")])
        == 0
    )
    original = decode_all(probe(videos / "long.mp4"), (16, 16)).float()
    panel = decode_all(probe(videos / "o.mp4"))[:, :, :16].float()
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
