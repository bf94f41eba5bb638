"""Indices, clips and their order."""

import shutil
from itertools import islice

import pytest
import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from data import ucf101
from data.clips import ClipDataset
from data.index import open_index
from data.loader import ClipSampler, eval_loader, train_loader
from data.pixels import psnr, ssim
from data.video.frames import read_frames
from runtime.errors import UserError


def test_ucf101_is_read_by_its_official_lists(builtin_set, tmp_path):
    train, test = (open_index(builtin_set, split) for split in ("train", "test"))
    assert len(train.classes) == 10
    assert (train.bad, test.bad) == ((), ())
    assert not {(c, ucf101.group_of(c)) for c in train.names} & {(c, ucf101.group_of(c)) for c in test.names}
    for name, label in zip(train.names, train.labels, strict=True):
        assert name.startswith(train.classes[label] + "/")
    copied = shutil.copytree(builtin_set, tmp_path / "set")
    for path in (copied / "ucfTrainTestlist").iterdir():
        path.write_text(path.read_text().replace("\n", "\r\n"), newline="")
    (copied / "UCF-101" / train.names[0]).unlink()
    (copied / "UCF-101" / train.names[1]).write_text("no video")
    damaged = open_index(copied, "train")
    assert damaged.names == train.names[2:]
    assert [name for name, _ in damaged.bad] == list(train.names[:2])


def test_a_folder_is_split_and_half_a_ucf101_refused(builtin_set, tmp_path):
    files = sorted((builtin_set / "UCF-101").rglob("*.avi"))[:12]
    for number, file in enumerate(files):
        shutil.copy(file, tmp_path / f"{number:02}.avi")
    train, test = (open_index(tmp_path, split) for split in ("train", "test"))
    assert test.names == ("00.avi", "10.avi")
    assert len(train.names) == 10
    assert set(train.labels) == {-1}
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no videos"):
        open_index(tmp_path / "empty", "train")
    (tmp_path / "half" / "ucfTrainTestlist").mkdir(parents=True)
    with pytest.raises(UserError, match="UCF-101/ is missing"):
        open_index(tmp_path / "half", "train")


@pytest.fixture(scope="module")
def index(builtin_set):
    return open_index(builtin_set, "train")


def test_clips_follow_seed_epoch_and_video_alone(index):
    disk, memory = (ClipDataset(index, 8, 8.0, (32, 32), 0, True, in_memory) for in_memory in (False, True))
    starts = set()
    for epoch, i in ((0, 0), (0, 5), (3, 5), (4, 5)):
        a, b = disk[epoch, i], memory[epoch, i]
        assert torch.equal(a["video"], b["video"])
        assert a["video"].shape == (3, 8, 32, 32)
        assert (a["label"], a["video_index"]) == (index.labels[i], i)
        starts.add((i, a["first_frame"]))
    assert len(starts) > 2
    clip = ClipDataset(index, 8, 8.0, (32, 32), 0, False, False)[0, 2]
    times = clip["first_frame"] + torch.arange(8) * 25 / 8
    expected = read_frames(index.videos[2], times.round().long().tolist(), (32, 32))
    assert (clip["video"].permute(1, 2, 3, 0).float() - expected.float()).abs().mean() < 5


def test_a_file_that_turns_bad_gives_way_and_is_named(index, tmp_path):
    copies = [shutil.copy(video.path, tmp_path / video.path.name) for video in index.videos[:3]]
    moved = open_index(tmp_path, "train")
    copies_in_order = [video.path for video in moved.videos]
    copies_in_order[0].write_text("gone")
    for in_memory in (False, True):
        clips = ClipDataset(moved, 4, 8.0, (16, 16), 0, False, in_memory)
        assert clips[0, 0]["skipped"] == moved.names[0]
        assert clips[0, 0]["video_index"] == 1
        assert clips[0, 1]["skipped"] == ""
    assert len(copies) == 3


def order(world, accumulation, start=0, steps=6, length=10, batch=8):
    """Each step's items over all ranks and micro-batches, in their global order."""
    ranks = [ClipSampler(length, batch, rank, world, accumulation, start, 7) for rank in range(world)]
    taken = [list(islice(iter(rank), steps * accumulation)) for rank in ranks]
    return [
        [item for rank in taken for micro in rank[k * accumulation : (k + 1) * accumulation] for item in micro]
        for k in range(steps)
    ]


def test_the_order_is_one_for_all_numbers_of_processes_and_resumes():
    whole = order(1, 1)
    for world, accumulation in ((2, 1), (1, 2), (2, 2), (4, 2)):
        assert order(world, accumulation) == whole
    assert order(2, 2, start=4, steps=2) == whole[4:]
    items = [item for step in whole for item in step]
    for epoch in range(4):
        assert sorted(items[epoch * 10 : (epoch + 1) * 10]) == [(epoch, i) for i in range(10)]
    assert items[:10] != [(0, i) for _, i in items[10:20]]
    with pytest.raises(UserError, match="cannot be divided"):
        ClipSampler(10, 8, 0, 3, 1, 0, 0)


def test_loaders_with_workers_give_what_the_process_itself_gives(index):
    clips = ClipDataset(index, 4, 8.0, (16, 16), 0, True, False)
    settings = {"batch_size": 4, "rank": 0, "world": 1, "accumulation": 1, "start_step": 2, "seed": 0}
    own = list(islice(train_loader(clips, **settings, workers=0), 3))
    others = list(islice(train_loader(clips, **settings, workers=2), 3))
    for a, b in zip(own, others, strict=True):
        assert torch.equal(a["video"], b["video"])
        assert torch.equal(a["label"], b["label"])
    shares = [list(eval_loader(clips, 4, rank, 2)) for rank in range(2)]
    seen = [i for share in shares for batch in share for i in batch["video_index"].tolist()]
    assert sorted(seen) == list(range(len(index.videos)))


def test_psnr_and_ssim_against_closed_form_and_torchmetrics():
    video = torch.rand(2, 3, 4, 24, 32) * 2 - 1
    torch.testing.assert_close(psnr(video + 0.02, video), torch.full((2, 4), 40.0), rtol=1e-4, atol=0)
    other = (video + 0.3 * torch.randn_like(video)).clamp(-1, 1)
    values = ssim(other, video)
    for b in range(2):
        for t in range(4):
            frames = [each[b : b + 1, :, t] / 2 + 0.5 for each in (other, video)]
            theirs = structural_similarity_index_measure(*frames, data_range=1.0)
            assert values[b, t].item() == pytest.approx(theirs.item(), abs=1e-5)
    with pytest.raises(UserError, match="11x11"):
        ssim(video[..., :8], video[..., :8])
