from collections import namedtuple
from dataclasses import replace

import psutil
import pytest
import torch
from torch.utils.data import default_collate

from data.clips import ClipDataset
from data.index import open_index
from data.video.frames import decode_all, write_video
from runtime.errors import UserError

SIZE = (16, 16)
SETTINGS = {"frames": 6, "fps": 8.0, "size": SIZE, "seed": 3}
LENGTHS_AND_RATES = [(40, 25), (30, 30), (24, 8), (10, 4), (9, 25)]  # 4 fps repeats frames; 9 frames are too few


@pytest.fixture
def index(tmp_path):
    """Videos whose frames tell their number by brightness, dark on the left and bright on the right."""
    shade = torch.linspace(0, 100, 24).view(1, 1, 24, 1)
    for i, (length, fps) in enumerate(LENGTHS_AND_RATES):
        frames = (shade + 3 * torch.arange(length).view(-1, 1, 1, 1)).expand(length, 20, 24, 3)
        write_video(tmp_path / f"{i}.mp4", frames.to(torch.uint8), fps)
    found = open_index(tmp_path, "train")
    held_out = open_index(tmp_path, "test")  # the first; joined again, so that place = name
    return replace(
        found, videos=held_out.videos + found.videos, names=held_out.names + found.names, labels=(0, 1, 2, 3, 4)
    )


def dataset(index, train: bool, in_memory: bool = False, **changes) -> ClipDataset:
    return ClipDataset(index, train=train, in_memory=in_memory, **{**SETTINGS, **changes})


def same(a: dict, b: dict) -> bool:
    return torch.equal(a["video"], b["video"]) and all(a[key] == b[key] for key in a.keys() - {"video"})


def test_a_clip_is_the_nearest_source_frames_in_the_middle_of_the_video(index):
    clips = dataset(index, train=False)
    for i, (length, fps) in enumerate(LENGTHS_AND_RATES):
        clip = clips[0, i]
        start = max(0, (length - 1 - 5 * fps / 8) / 2)
        wanted = torch.tensor([min(length - 1, round(start + k * fps / 8)) for k in range(6)])
        assert torch.equal(clip["video"], decode_all(index.videos[i], SIZE)[wanted].permute(3, 0, 1, 2))
        assert (clip["label"], clip["video_index"], clip["first_frame"]) == (i, i, wanted[0])


def test_training_clips_depend_on_seed_epoch_and_video_alone(index):
    clips = dataset(index, train=True)
    assert all(same(clips[epoch, i], dataset(index, train=True)[epoch, i]) for epoch in (0, 7) for i in range(5))
    first_frames = {clips[epoch, 0]["first_frame"] for epoch in range(30)}
    assert len(first_frames) > 8
    assert max(first_frames) <= LENGTHS_AND_RATES[0][0] - 1 - 5 * 25 / 8
    assert not all(same(clips[e, 0], dataset(index, train=True, seed=4)[e, 0]) for e in range(5))
    flipped = [
        bool(c[..., 0].float().mean() > c[..., -1].float().mean()) for c in (clips[e, 0]["video"] for e in range(40))
    ]
    assert 8 < sum(flipped) < 32


def test_a_partner_shows_the_same_scene_flipped_alike(index):
    names = ("A/v_A_g01_c01.avi", "A/v_A_g02_c01.avi", "A/v_A_g01_c02.avi", "A/v_A_g01_c03.avi", "film.mp4")
    clips = dataset(replace(index, names=names, labels=(0, 0, 0, 0, -1)), train=True)
    pairs = [(clips[e, i], clips[e, i, True]) for i in range(5) for e in range(24)]
    partners = [{other["video_index"] for _, other in pairs[24 * i : 24 * i + 24]} for i in range(5)]
    assert partners == [{2, 3}, {1}, {0, 3}, {0, 2}, {4}]

    def flipped(clip):
        return bool(clip["video"][..., 0].float().mean() > clip["video"][..., -1].float().mean())

    assert all(flipped(clip) == flipped(other) for clip, other in pairs)
    assert {flipped(clip) for clip, _ in pairs} == {True, False}
    assert any(a["first_frame"] != b["first_frame"] for a, b in pairs[24:48])  # alone in its scene: another window


@pytest.mark.parametrize("train", [True, False])
def test_clips_from_memory_equal_those_from_disk(index, train):
    disk, memory = dataset(index, train), dataset(index, train, in_memory=True)
    assert all(same(disk[epoch, i], memory[epoch, i]) for epoch in range(4) for i in range(5))


def test_a_file_that_turned_bad_gives_way_to_the_next_and_is_named(index):
    clips, untouched = dataset(index, train=True), dataset(index, train=True)[2, 4]
    index.videos[2].path.unlink()
    index.videos[3].path.write_bytes(b"")
    clip = clips[2, 2]
    assert clip["skipped"] == "2.mp4\n3.mp4"
    assert same({**clip, "skipped": ""}, untouched)
    assert same(clips[2, 2], dataset(index, train=True, in_memory=True)[2, 2])
    batch = default_collate([clip, clips[2, 4]])
    assert batch["video"].shape == (2, 3, 6, *SIZE)
    assert batch["video"].dtype == torch.uint8
    assert (batch["skipped"], batch["video_index"].tolist()) == (["2.mp4\n3.mp4", ""], [4, 4])
    for video in index.videos:
        video.path.unlink(missing_ok=True)
    with pytest.raises(UserError, match="no video of the data set can be read any more"):
        clips[0, 0]


def test_too_much_for_memory_is_told_before_decoding(index, monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: namedtuple("Memory", "available")(1000))
    with pytest.raises(UserError, match=r"--data.in_memory false"):
        dataset(index, train=True, in_memory=True)
