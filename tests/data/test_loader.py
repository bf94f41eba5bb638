import shutil
from itertools import islice, pairwise

import psutil
import pytest
import torch
from torch.utils.data import DataLoader

from data.clips import ClipDataset
from data.index import open_index
from data.loader import PREFETCH, ClipSampler, PairSampler, eval_loader, require_shared_memory, train_loader
from data.video.backends import available
from data.video.frames import write_video
from runtime import distributed
from runtime.errors import UserError

VIDEOS, BATCH, STEPS = 10, 8, 12  # neither divides the other: batches run over the ends of epochs


def steps(world: int, accumulation: int, start_step: int = 0, videos: int = VIDEOS) -> list[list[tuple[int, int]]]:
    """The items of each step, all ranks and micro-batches in order."""
    ranks = []
    for rank in range(world):
        sampler = ClipSampler(videos, BATCH, rank, world, accumulation, start_step, seed=1)
        ranks.append(list(islice(sampler, (STEPS - start_step) * accumulation)))
    assert {len(micro) for micros in ranks for micro in micros} == {BATCH // world // accumulation}
    return [
        [item for micros in ranks for micro in micros[k * accumulation : (k + 1) * accumulation] for item in micro]
        for k in range(STEPS - start_step)
    ]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    root = tmp_path_factory.mktemp("videos")
    for i in range(8):
        write_video(root / f"{i}.mp4", torch.full((8, 16, 16, 3), 20 * i, dtype=torch.uint8), 8)
    return ClipDataset(open_index(root, "train"), 4, 8.0, (16, 16), seed=0, train=True, in_memory=False)


@pytest.mark.parametrize(("world", "accumulation"), [(2, 1), (1, 2), (2, 2), (4, 2)])
def test_steps_are_the_same_for_every_world_and_accumulation(world, accumulation):
    assert steps(world, accumulation) == steps(1, 1)


@pytest.mark.parametrize(("world", "accumulation"), [(1, 1), (2, 2)])
@pytest.mark.parametrize("start_step", [1, 5, 11])
def test_a_resumed_order_is_the_uninterrupted_one(world, accumulation, start_step):
    assert steps(world, accumulation, start_step) == steps(world, accumulation)[start_step:]


@pytest.mark.parametrize("videos", [10, 3, 1])  # with 3 and 1, a batch spans several epochs
def test_each_epoch_is_a_permutation_of_its_own(videos):
    stream = [item for step in steps(1, 1, videos=videos) for item in step]
    epochs = [stream[i : i + videos] for i in range(0, len(stream) - videos + 1, videos)]
    for number, epoch in enumerate(epochs):
        assert {e for e, _ in epoch} == {number}
        assert sorted(i for _, i in epoch) == list(range(videos))
    if videos == VIDEOS:
        assert len({tuple(i for _, i in epoch) for epoch in epochs}) == len(epochs)


@pytest.mark.parametrize(("batch_size", "world", "accumulation"), [(6, 4, 1), (6, 1, 4), (8, 4, 4), (0, 1, 1)])
def test_a_batch_that_cannot_be_divided_is_an_error(batch_size, world, accumulation):
    with pytest.raises(UserError, match=f"a batch of {batch_size} clips cannot be divided over {world} processes"):
        ClipSampler(VIDEOS, batch_size, 0, world, accumulation, 0, 0)


@pytest.mark.parametrize(("world", "accumulation"), [(1, 1), (2, 1), (2, 2)])
def test_pairs_are_clips_each_before_its_partner(world, accumulation):
    ranks = [iter(PairSampler(VIDEOS, BATCH, rank, world, accumulation, 3, 1)) for rank in range(world)]
    step = [item for rank in ranks for micro in islice(rank, accumulation) for item in micro]
    leads = next(iter(ClipSampler(VIDEOS, BATCH // 2, 0, 1, 1, 3, 1)))
    assert [item[:2] for item in step] == [lead for lead in leads for _ in range(2)]
    assert [item.partner for item in step] == [False, True] * (BATCH // 2)
    with pytest.raises(UserError, match=f"a batch of {world} clips cannot be divided into pairs"):
        PairSampler(VIDEOS, world, 0, world, 1, 0, 0)


def batches_of(clips, workers):
    return iter(train_loader(clips, 4, 0, 1, 2, start_step=1, seed=0, workers=workers))


def test_worker_processes_load_the_same_clips(clips):
    """Whether each batch is dropped before the next, so that its memory is used again, or all are kept."""
    count = 24
    here = list(islice(batches_of(clips, 0), count))
    for number, there in enumerate(islice(batches_of(clips, 2), count)):
        assert torch.equal(here[number]["video"], there["video"])
        assert torch.equal(here[number]["video_index"], there["video_index"])
    for mine, kept in zip(here, list(islice(batches_of(clips, 2), count)), strict=True):
        assert torch.equal(mine["video"], kept["video"])


def test_memory_of_a_batch_is_used_again_only_when_nothing_looks_into_it(clips):
    batches = batches_of(clips, 1)
    kept = next(batches)["video"][1, :, 2:]  # a part, whose batch is gone
    as_it_was, places = kept.clone(), set()
    for _ in range(20):
        places.add(next(batches)["video"].untyped_storage().data_ptr())
    assert torch.equal(kept, as_it_was)
    assert kept.untyped_storage().data_ptr() not in places
    assert len(places) <= PREFETCH + 1  # those that wait, and one that is looked at while the next is made


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("context", ["fork", "spawn", "forkserver"])
def test_workers_survive_every_way_to_start_a_process(clips, context):
    """This process has decoded, and loaded its backends, before it forks."""
    items = [(0, i) for i in range(len(clips))]
    here = [clips[item]["video"] for item in items]
    loader = DataLoader(clips, sampler=items, batch_size=1, num_workers=2, multiprocessing_context=context)
    for mine, batch in zip(here, loader, strict=True):
        assert torch.equal(mine, batch["video"][0])


@pytest.mark.parametrize("backend", available())
def test_memory_stays_flat(builtin_set, backend):
    clips = ClipDataset(open_index(builtin_set, "train"), 8, 8.0, (48, 48), 0, True, False, backend=backend)
    sizes = []
    for k in range(401):
        clips[k // len(clips), k % len(clips)]
        if k % 100 == 0:
            sizes.append(psutil.Process().memory_info().rss)
    # One clip's frames at their full size are 2 MB. What is lost is lost in every hundred; an arena grows now and then.
    assert min(after - before for before, after in pairwise(sizes)) < 2e6


def test_evaluation_sees_each_video_once_over_all_ranks(clips):
    seen = [batch["video_index"].tolist() for rank in range(2) for batch in eval_loader(clips, 2, rank, 2)]
    assert sorted(i for batch in seen for i in batch) == list(range(len(clips)))
    chosen = [batch["video_index"].tolist() for batch in eval_loader(clips, 2, 0, 1, chosen=[5, 1, 3])]
    assert chosen == [[5, 1], [3]]


def test_shared_memory_too_small_for_the_workers_is_said_at_the_start(monkeypatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=64_000_000))
    monkeypatch.setattr(distributed, "local_processes", lambda: 8)
    require_shared_memory(8_000_000)
    with pytest.raises(UserError, match=r"need 0.08 GB of shared memory and /dev/shm has 0.06 GB; enlarge it"):
        require_shared_memory(10_000_000)
