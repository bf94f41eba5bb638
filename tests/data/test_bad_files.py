"""Files that are no video, or part of one: named, bounded in time, and used as far as they decode."""

import os
import random
import threading
import time
from itertools import islice
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from data.clips import ClipDataset, UnreadableFile
from data.index import open_index
from data.video import inspector
from data.video.frames import read_frames, stream_frames, write_video
from data.video.inspector import Inspector, Unfinished, inspect_all
from data.video.probe import VideoInfo
from runtime.errors import UserError

PLACES = 50


@pytest.fixture(scope="module")
def whole(tmp_path_factory, builtin_set):
    """MPEG-4 in AVI without B-frames, and H.264 in mp4 with them."""
    path = tmp_path_factory.mktemp("whole") / "h264.mp4"
    first = min((builtin_set / "UCF-101").rglob("*.avi"))
    frames = torch.stack(list(stream_frames(first)))[:, ::2, ::2]
    write_video(path, frames, 25)
    return first.read_bytes(), path.read_bytes()


def damaged(folder: Path, contents: tuple[bytes, bytes], change) -> list[Path]:
    draw = random.Random(0)
    paths = []
    for suffix, content in zip((".avi", ".mp4"), contents, strict=True):
        for i in range(PLACES):
            paths.append(folder / f"{i}{suffix}")
            paths[-1].write_bytes(change(content, draw))
    return paths


def cut(content: bytes, draw: random.Random) -> bytes:
    return content[: draw.randrange(len(content))]


def overwrite(content: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(content))
    noise = draw.randbytes(draw.choice([1, 16, 500]))
    return content[:place] + noise + content[place + len(noise) :]


@pytest.mark.parametrize("change", [cut, overwrite])
def test_a_damaged_file_is_named_or_read_as_a_decode_from_its_start(tmp_path, whole, change):
    paths = damaged(tmp_path, whole, change)
    found = list(inspect_all(paths))
    assert not [each for each in found if isinstance(each, Unfinished)]
    readable = [each for each in found if isinstance(each, VideoInfo)]
    assert len(readable) > PLACES // 2
    assert all(each.frames > 0 for each in readable)
    if change is cut:  # something is lost but in an AVI file's index and an mp4's last notes, which come last
        sizes = {".avi": len(whole[0]), ".mp4": len(whole[1])}
        assert all(each.problem or each.path.stat().st_size > 0.99 * sizes[each.path.suffix] for each in readable)
    for info in readable[::4]:
        indices = [0, info.frames // 2, info.frames - 1]
        expected = list(islice(stream_frames(info.path), info.frames))
        assert torch.equal(read_frames(info, indices), torch.stack([expected[i] for i in indices]))


@pytest.fixture
def folder(tmp_path, whole):
    """A whole video, half a one, and everything that is none."""
    (tmp_path / "whole.avi").write_bytes(whole[0])
    (tmp_path / "another.avi").write_bytes(whole[0])
    (tmp_path / "half.avi").write_bytes(whole[0][: len(whole[0]) // 2])
    (tmp_path / "zero.avi").touch()
    (tmp_path / "text.mp4").write_text("not a video\n" * 50)
    (tmp_path / "directory.mkv").mkdir()
    (tmp_path / "gone.avi").symlink_to(tmp_path / "nowhere")
    return tmp_path


def test_the_index_names_each_bad_file_or_ends_with_it(folder):
    index = open_index(folder, "train")
    bad = dict(index.bad)
    assert set(bad) == {"zero.avi", "text.mp4", "directory.mkv", "gone.avi"}
    assert (bad["zero.avi"], bad["gone.avi"]) == ("is empty", "no such file")
    [(name, problem)] = index.noted
    assert name == "half.avi"
    assert problem.startswith("ends after ")
    lines = index.report().splitlines()
    assert "left out: zero.avi: is empty" in lines
    assert lines[-1] == f"used in part: half.avi: {problem}"
    clips = ClipDataset(index, 4, 8.0, (16, 16), 0, True, False, on_bad_file="error")
    assert [clips[epoch, i]["skipped"] for epoch in range(5) for i in range(len(clips))] == [""] * 5 * len(clips)
    with pytest.raises(UserError, match=r"4 files in .* cannot be read; the first, directory.mkv: is a folder"):
        open_index(folder, "train", on_bad_file="error")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_that_turns_bad_ends_the_run_where_it_may_not_be_skipped(folder, workers):
    index = open_index(folder, "train")
    clips = ClipDataset(index, 4, 8.0, (16, 16), 0, False, False, on_bad_file="error")
    for video in index.videos:
        video.path.unlink()
    with pytest.raises(UnreadableFile) as error:
        next(iter(DataLoader(clips, sampler=[(0, 0)], num_workers=workers)))
    assert str(error.value).startswith(str(index.videos[0].path))
    assert len(str(error.value).splitlines()) == 1


def test_a_file_without_end_is_given_up_and_a_crash_is_survived(tmp_path, whole, monkeypatch):
    """A named pipe that nobody writes to is a file that never comes to an end."""
    os.mkfifo(tmp_path / "endless.avi")
    (tmp_path / "whole.avi").write_bytes(whole[0])
    one = Inspector()
    assert isinstance(one.inspect(tmp_path / "whole.avi"), VideoInfo)
    threading.Timer(0.5, one.kill).start()
    found = one.inspect(tmp_path / "endless.avi")
    assert isinstance(found, Unfinished)
    assert found.reason == "crashes the decoder"
    monkeypatch.setattr(inspector, "LEAST_TIME", 1.0)
    started = time.monotonic()
    assert one.inspect(tmp_path / "endless.avi").reason == "is not read within 1 seconds"
    assert time.monotonic() - started < 5
    assert isinstance(one.inspect(tmp_path / "whole.avi"), VideoInfo)
    one.close()
