"""Files that are no videos, too large, or made to do harm end in one line that names them as their owner does."""

import io
import struct

import av
import pytest
import torch

from app.uploads import Limits, admit
from data.video.frames import write_video
from runtime.errors import UserError


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "mine.mp4"
    write_video(path, torch.randint(256, (24, 32, 48, 3), dtype=torch.uint8), 8)
    return path


def refusal(path, limits=None):
    with pytest.raises(UserError) as error:
        admit(path, *([limits] if limits else []))
    said = str(error.value)
    assert "\n" not in said
    assert said.startswith(path.name)
    assert str(path.parent) not in said
    return said


def test_a_video_is_let_in_as_it_is(video):
    info = admit(video)
    assert (info.frames, info.fps, info.width, info.height) == (24, 8.0, 48, 32)


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Limits(size=1000), "at most 0 MB are taken"),
        (Limits(seconds=2.5), "is 3 seconds long; at most 2 are taken"),
        (Limits(pixels=1000), "frames of 48×32 pixels"),
    ],
    ids=["size", "length", "pixels"],
)
def test_what_is_too_much_is_said_with_the_limit(video, limits, said):
    assert said in refusal(video, limits)


def sound() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame(format="fltp", layout="mono", samples=1024)
        frame.sample_rate = 8000
        frame.planes[0].update(bytes(frame.planes[0].buffer_size))
        container.mux([*stream.encode(frame), *stream.encode()])
    return file.getvalue()


NO_VIDEOS = {
    "text": b"no video at all",
    "empty": b"",
    "header alone": struct.pack(">I4s4sI", 16, b"ftyp", b"isom", 512),
    "box of four gigabytes": struct.pack(">I4s", 0xFFFFFFFF, b"moov") + b"\0" * 64,
    "box inside itself": struct.pack(">I4s", 16, b"moov") * 2000,
    "sound": sound(),
}


@pytest.mark.parametrize("content", NO_VIDEOS.values(), ids=NO_VIDEOS)
def test_what_is_no_video_is_one_line(content, tmp_path):
    path = tmp_path / "<b>&.mp4"
    path.write_bytes(content)
    refusal(path)


def test_a_cut_file_is_refused_and_a_damaged_one_shown_as_far_as_it_goes(video, tmp_path):
    whole = video.read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: len(whole) // 2])
    refusal(cut)
    damaged = tmp_path / "damaged.mp4"
    half = len(whole) // 2
    damaged.write_bytes(whole[:half] + bytes(4000) + whole[half + 4000 :])
    assert 0 < admit(damaged).frames <= 24


def test_a_list_of_other_files_is_no_way_to_them(video, tmp_path):
    """FFmpeg by itself takes it for the video that it names."""
    others = tmp_path / "list.mp4"
    others.write_text(f"ffconcat version 1.0\nfile {video.name}\n")
    with av.open(str(others)) as container:
        assert (container.format.name, container.streams.video[0].width) == ("concat", 48)
    assert "no video in a file that is known here" in refusal(others)
