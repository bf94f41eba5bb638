import random
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from data.video.backends import available
from data.video.frames import (
    BadVideo,
    decode_all,
    fit,
    has_audio,
    probe,
    read_frames,
    stream_frames,
    to_float,
    to_uint8,
    write_video,
)
from data.video.probe import verify
from runtime.errors import UserError

FRAMES, HEIGHT, WIDTH = 40, 96, 128
X264, OPEN_GOP = {"g": "12"}, {"x264-params": "open-gop=1:keyint=12:bframes=3:scenecut=0"}
# name, encoder, B-frames, further settings, who seeks correctly in it
BOTH, ONE, NONE = ("torchcodec", "decord"), ("torchcodec",), ()
FILES = [
    ("mpeg4.avi", "mpeg4", 0, {}, BOTH),
    ("mpeg4_b.avi", "mpeg4", 2, {}, NONE),
    ("mpeg4_b.mp4", "mpeg4", 2, {}, ONE),
    ("xvid.avi", "mpeg4", 0, {"tag": "XVID"}, BOTH),
    ("xvid_b.avi", "mpeg4", 2, {"tag": "XVID"}, NONE),
    ("h264.avi", "libx264", 0, {"options": X264}, NONE),  # H.264 in AVI has no times of showing
    ("h264.mp4", "libx264", 0, {"options": X264}, BOTH),
    ("h264_b.mp4", "libx264", 2, {"options": X264}, ONE),
    ("h264.mkv", "libx264", 0, {"options": X264}, BOTH),
    ("h264_open.mkv", "libx264", 3, {"options": OPEN_GOP}, ONE),
    ("variable.mp4", "libx264", 0, {"options": X264, "variable": True}, BOTH),
    ("variable_b.mkv", "libx264", 2, {"options": X264, "variable": True}, ONE),
    ("odd.avi", "mpeg4", 0, {"height": 97, "width": 131}, NONE),
    ("odd_height.mkv", "mpeg4", 0, {"height": 97}, NONE),
    ("odd_width.avi", "mpeg4", 0, {"width": 131}, ("decord",)),
    ("narrow.avi", "mpeg4", 0, {"width": 72}, ONE),
    ("turned.mp4", "libx264", 0, {"rotation": 90}, BOTH),
    ("turned_b.mp4", "libx264", 2, {"rotation": -90}, ONE),
    ("upside_down.mp4", "mpeg4", 0, {"rotation": 180}, BOTH),
    ("one_frame.avi", "mpeg4", 0, {"frames": 1}, BOTH),
    ("one_frame.mp4", "libx264", 2, {"frames": 1}, ONE),
    ("slow.avi", "mpeg4", 0, {"rate": 1}, BOTH),
    ("slow_b.mp4", "libx264", 2, {"rate": 1}, ONE),
    ("fast.mp4", "libx264", 0, {"rate": 60}, BOTH),
]


def texture(frames: int, height: int, width: int) -> np.ndarray:
    """A textured picture that moves, so that every frame differs from every other; `t h w c`."""
    noise = torch.rand(1, 3, height // 16 + 5, width // 16 + 7, generator=torch.Generator().manual_seed(0))
    picture = F.interpolate(noise, scale_factor=16, mode="bilinear")[0].mul(255).to(torch.uint8).permute(1, 2, 0)
    return torch.stack([picture[i : i + height, 2 * i : 2 * i + width] for i in range(frames)]).numpy()


def encode(
    path: Path,
    codec: str,
    b_frames: int,
    options: dict | None = None,
    frames: int = FRAMES,
    height: int = HEIGHT,
    width: int = WIDTH,
    rate: int = 25,
    tag: str | None = None,
    variable: bool = False,
    rotation: int = 0,
) -> None:
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = width, height, "yuv420p", 2_000_000
        stream.codec_context.max_b_frames = b_frames
        if tag:
            stream.codec_context.codec_tag = tag
        if rotation:
            stream.set_display_rotation(rotation)
        if variable:
            stream.codec_context.time_base = Fraction(1, 1000)
        for i, picture in enumerate(texture(frames, height, width)):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")
            if variable:
                frame.pts, frame.time_base = 40 * i + 15 * (i % 3), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def encode_sound(path: Path) -> None:
    with av.open(path, "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


def decode(path: Path) -> torch.Tensor:
    """Every frame, in order, upright."""
    with av.open(path) as container:
        frames = [(frame.to_ndarray(format="rgb24"), frame.rotation) for frame in container.decode(video=0)]
    return torch.from_numpy(np.stack([np.rot90(pixels, rotation // 90) for pixels, rotation in frames]))


@pytest.mark.parametrize("backend", ["decord", "torchcodec"])
@pytest.mark.parametrize(("name", "codec", "b_frames", "settings", "seekable_by"), FILES, ids=[f[0] for f in FILES])
def test_any_frames_are_those_of_a_sequential_decode(tmp_path, name, codec, b_frames, settings, seekable_by, backend):
    if backend not in available():
        pytest.skip(f"{backend} does not work here")
    path = tmp_path / name
    encode(path, codec, b_frames, **settings)
    expected, info = decode(path), probe(path)
    assert (info.frames, info.height, info.width) == expected.shape[:3]
    assert len(expected) == settings.get("frames", FRAMES)
    assert "variable" in settings or info.fps == settings.get("rate", 25)
    assert (info.seekable_by, info.problem) == (seekable_by, "")
    assert verify(info) == info
    draw, every = random.Random(0), range(len(expected))
    requests = [list(every)] + [[i] for i in every[::5]]
    requests += [draw.choices(every, k=draw.choice([2, 4, 8])) for _ in range(6)]  # unsorted, with repeats
    for indices in requests:
        assert torch.equal(read_frames(info, indices, backend=backend), expected[indices])
    assert torch.equal(read_frames(info, requests[-1], backend=backend, threads=2), expected[requests[-1]])
    assert torch.equal(decode_all(info), expected)
    size = (20, 20)
    assert torch.equal(decode_all(info, size)[[-1, 0]], read_frames(path, [every[-1], 0], size))


@pytest.mark.parametrize(("height", "width"), [(32, 24), (32, 48), (32, 72), (51, 130), (50, 131)])
def test_frames_of_awkward_sizes_are_those_of_a_sequential_decode(tmp_path, height, width):
    path = tmp_path / "a.avi"
    encode(path, "mpeg4", 0, {}, frames=3, height=height, width=width)
    assert torch.equal(read_frames(probe(path), [0, 2]), decode(path)[[0, 2]])


def test_asking_beyond_the_end_is_a_bad_video(tmp_path):
    for name, b_frames in (("a.avi", 0), ("b.avi", 2)):
        encode(tmp_path / name, "mpeg4", b_frames, {}, frames=5)
        with pytest.raises(BadVideo, match=r"has no frame 5$"):
            read_frames(probe(tmp_path / name), [0, 5])


def test_what_is_no_video_says_why(tmp_path):
    (tmp_path / "zero.avi").touch()
    (tmp_path / "text.mp4").write_text("not a video\n" * 50)
    (tmp_path / "folder.avi").mkdir()
    encode_sound(tmp_path / "sound.mp4")
    encode(tmp_path / "whole.mp4", "libx264", 0, {})
    content = (tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "half.mp4").write_bytes(content[: len(content) // 2])
    reasons = {
        "zero.avi": "is empty",
        "text.mp4": "is no video",
        "folder.avi": "is a folder",
        "sound.mp4": "has no video",
        "half.mp4": "is no video, or is cut short",
        "missing.avi": "no such file",
    }
    for name, reason in reasons.items():
        for read in (probe, lambda path: next(stream_frames(path))):
            with pytest.raises(BadVideo, match=reason) as error:
                read(tmp_path / name)
            assert str(error.value) == f"{tmp_path / name}: {error.value.reason}"
            assert "\n" not in str(error.value)


@pytest.mark.parametrize("b_frames", [0, 2])
def test_damaged_avi_keeps_the_frames_it_still_has(tmp_path, b_frames):
    whole = tmp_path / "whole.avi"
    encode(whole, "mpeg4", b_frames, {})
    content = bytearray(whole.read_bytes())
    (tmp_path / "cut.avi").write_bytes(content[: len(content) // 2])
    middle = slice(len(content) // 2, len(content) // 2 + 3000)
    content[middle] = random.Random(0).randbytes(3000)
    (tmp_path / "scratched.avi").write_bytes(content)
    for name in ("cut.avi", "scratched.avi"):
        probed = probe(tmp_path / name)
        info, frames = verify(probed), decode_all(probed)
        assert info.problem
        assert not info.seekable_by
        assert FRAMES // 4 < len(frames) <= info.frames < FRAMES
        assert torch.equal(frames[:6], decode(whole)[:6])
        last = len(frames) - 1
        assert torch.equal(read_frames(info, [2, last]), frames[[2, last]])
        with pytest.raises(BadVideo):
            read_frames(info, [2, FRAMES - 1])


def test_a_file_that_vanishes_is_a_bad_video(tmp_path):
    encode(tmp_path / "a.avi", "mpeg4", 0, {}, frames=3)
    info = probe(tmp_path / "a.avi")
    info.path.unlink()
    for read in (lambda: read_frames(info, [0]), lambda: decode_all(info)):
        with pytest.raises(BadVideo, match=r"no such file|can no longer be read"):
            read()


def test_fit_covers_and_cuts_out_the_centre():
    ramp = torch.arange(120, dtype=torch.uint8).view(1, 1, 120, 1).expand(2, 40, 120, 3)
    fitted = fit(ramp, (20, 20))
    assert fitted.shape == (2, 20, 20, 3)
    # Half the scale: columns 40..79 in pairs, whose means lie halfway between two bytes.
    centres = torch.arange(40, 80, 2).float() + 0.5
    assert (fitted[0, 0, :, 0].float() - centres).abs().max() <= 1
    assert fit(ramp, None) is ramp
    checks = torch.zeros(1, 64, 64, 3, dtype=torch.uint8)
    checks[:, ::2, ::2] = checks[:, 1::2, 1::2] = 255
    assert (fit(checks, (16, 16)).float() - 127.5).abs().max() < 8  # without antialiasing: 0 or 255


@pytest.mark.parametrize(("height", "width"), [(48, 64), (47, 65)])
def test_written_video_comes_back(tmp_path, height, width):
    frames, fps = torch.from_numpy(texture(12, height, width)), Fraction(30000, 1001)
    path = tmp_path / "a.mp4"
    write_video(path, (frame for frame in frames), float(fps))
    info = probe(path)
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]
    assert not has_audio(path)
    with av.open(path) as container:
        assert container.streams.video[0].average_rate == fps
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"
    assert (info.frames, info.height, info.width) == (12, height + height % 2, width + width % 2)
    error = (decode_all(info)[:, :height, :width].float() - frames.float()).square().mean()
    assert 10 * torch.log10(255**2 / error) > 35


def test_a_failed_write_leaves_nothing(tmp_path):
    def broken():
        yield torch.zeros(16, 16, 3, dtype=torch.uint8)
        raise RuntimeError("out of frames")

    with pytest.raises(RuntimeError, match="out of frames"):
        write_video(tmp_path / "a.mp4", broken(), 25)
    with pytest.raises(UserError, match="no frames to write"):
        write_video(tmp_path / "a.mp4", [], 25)
    assert not list(tmp_path.iterdir())


def test_bytes_and_floats_are_inverse_rounded_and_clamped():
    every_byte = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(to_float(every_byte)), every_byte)
    assert to_float(every_byte)[[0, 255]].tolist() == [-1, 1]
    assert to_uint8(torch.tensor([-3.0, 3.0, 99.6 / 127.5 - 1, 99.4 / 127.5 - 1])).tolist() == [0, 255, 100, 99]
