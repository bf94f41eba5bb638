"""H.264 and JPEG as coders: bits against FFmpeg's own filter and closed forms, the search against every setting."""

import av
import numpy as np
import pytest
import torch

from data.pixels import psnr
from eval.coders import h264, jpeg
from eval.coders.codec import CodecCoder
from eval.coders.registry import open_coder
from runtime.errors import UserError


def moving(frames=9, height=32, width=48):
    """A smooth clip `1 c t h w` that moves."""
    t, y, x = torch.meshgrid(torch.arange(frames), torch.arange(height), torch.arange(width), indexing="ij")
    waves = [torch.sin(x / 5 + t / 3), torch.cos(y / 4 - t / 2), torch.sin((x + y) / 7 + t)]
    return torch.stack(waves)[None].float()


def pixels(video):
    return ((video[0].permute(1, 2, 3, 0) + 1) * 127.5).round().byte().numpy()


def test_the_payload_is_what_ffmpeg_leaves_when_it_drops_all_but_slices(tmp_path):
    stream = h264.write(pixels(moving()), 23, "420")
    assert stream.payload + stream.overhead == 8 * sum(map(len, stream.parts))
    file = tmp_path / "clip.h264"
    file.write_bytes(b"".join(stream.parts))
    slices, count = 0, 0
    with av.open(file, format="h264") as container:
        drop = av.BitStreamFilterContext("filter_units=pass_types=1-5", container.streams.video[0])
        for packet in container.demux():
            for kept in drop.filter(packet):
                count += 1
                slices += kept.size - len(leading_zeros_and_one(bytes(kept)))
    assert count == 9  # one slice for each frame
    assert stream.payload == 8 * slices


def leading_zeros_and_one(unit):
    return unit[: unit.index(b"\x01") + 1]


def test_what_comes_back_is_what_a_player_shows(tmp_path):
    stream = h264.write(pixels(moving()), 30, "420")
    file = tmp_path / "clip.h264"
    file.write_bytes(b"".join(stream.parts))
    with av.open(file, format="h264") as container:
        shown = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    assert np.array_equal(h264.read(stream), shown)


@pytest.mark.parametrize(("chroma", "bits"), [("420", 4 * 6 + 2 * 4), ("444", 4 * 6 + 8 * 4)])
def test_a_grey_jpeg_takes_a_difference_of_zero_and_an_end_for_each_block(chroma, bits):
    """ITU-T T.81, tables K.3 to K.6: 2 + 4 bits for a block of luminance, 2 + 2 for one of chrominance."""
    stream = jpeg.write(np.full((3, 16, 16, 3), 128, np.uint8), 50, chroma)
    assert stream.payload == 3 * bits
    assert stream.payload + stream.overhead == 8 * sum(map(len, stream.parts))


def test_jpeg_tables_tell_nothing_of_the_picture():
    noise = np.random.default_rng(0).integers(0, 256, (1, 32, 48, 3), np.uint8)
    smooth = pixels(moving(frames=1))
    one, other = (jpeg.write(clip, 50, "420") for clip in (noise, smooth))
    assert one.payload > 2 * other.payload
    assert one.overhead == other.overhead


def test_the_search_finds_the_best_quality_that_fits():
    clip, sizes = pixels(moving()), {}
    for quality in jpeg.QUALITIES:
        sizes[quality] = jpeg.write(clip, quality, "420").payload
    for wished in (sizes[1], sizes[60] - 1, sizes[85], sizes[100] + 1):
        best = max(quality for quality, size in sizes.items() if size <= wished)
        coded = CodecCoder(jpeg.JPEG, bits=wished)(moving())
        assert coded.bits.tolist() == [sizes[best]]
        assert coded.reached.tolist() == [True]


@pytest.mark.parametrize("spec", ["h264:bits=4000", "jpeg:bits=12000"])
def test_more_bits_look_better_and_no_clip_exceeds_its_own(spec):
    video = torch.cat([moving(), moving().flip(3) * 0.7])
    name, wished = spec.split("bits=")
    little, much = (open_coder(f"{name}bits={int(wished) * factor}")(video) for factor in (1, 4))
    assert (little.bits <= int(wished)).all()
    assert (much.bits <= 4 * int(wished)).all()
    assert (psnr(much.video, video).mean(1) > psnr(little.video, video).mean(1) + 1).all()
    assert little.reached.all()
    assert little.values is None


@pytest.mark.parametrize("name", ["h264", "jpeg"])
def test_what_no_setting_reaches_is_said(name):
    coded = open_coder(f"{name}:bits=8")(moving())
    assert coded.reached.tolist() == [False]
    assert coded.bits.item() > 8


def test_colours_at_full_size_lose_less():
    video = moving()
    half, full = (open_coder(f"h264:crf=0,chroma={chroma}")(video) for chroma in ("420", "444"))
    assert psnr(full.video, video).mean() > 50  # what eight bits of another colour space leave
    assert psnr(half.video, video).mean() < psnr(full.video, video).mean() - 3


@pytest.mark.parametrize("spec", ["h264:crf=23", "jpeg:quality=50"])
def test_odd_sizes_come_back_as_they_were_and_always_the_same(spec):
    video = moving(frames=5, height=17, width=23)
    first, *others = (open_coder(spec)(video) for _ in range(5))
    assert first.video.shape == video.shape
    assert all(torch.equal(first.video, other.video) and torch.equal(first.bits, other.bits) for other in others)
    assert first.reached is None
    assert psnr(first.video, video).mean() > 25


@pytest.mark.parametrize(
    ("spec", "answer"),
    [
        ("h265:crf=23", "there is no coder h265; did you mean h264?"),
        ("what", "there is no coder what; there are vidtwin, fp16, int8, kl, .*, h264, jpeg"),
        ("h264", "says not which h264; write h264:crf="),
        ("wan:", "says not which wan; write wan:FOLDER"),
        ("h264:cfr=23", "there is no setting cfr; did you mean crf?"),
        ("h264:crf=23,bits=100", "give either crf= or bits="),
        ("jpeg:chroma=444", "give either quality= or bits="),
        ("jpeg:quality=0", "quality is 1 to 100 in steps of 1$"),
        ("h264:crf=good", "crf is 0 to 51 in steps of 0.25$"),
        ("jpeg:bits=1e3", "bits is a positive whole number"),
        ("h264:crf=23,chroma=422", "chroma is 420 or 444"),
        ("int8:nowhere", "nowhere holds no weights"),
    ],
)
def test_a_wrong_text_is_answered_with_one_line(spec, answer):
    with pytest.raises(UserError, match=answer) as error:
        open_coder(spec)
    assert "\n" not in str(error.value)
