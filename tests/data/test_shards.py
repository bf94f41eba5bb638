import io
import json
import tarfile
from itertools import islice

import pytest
import torch

from data.clips import ClipDataset
from data.index import open_index
from data.sharded import ShardedClips, shard_loader
from data.shards import main, read_list, read_shard
from runtime.errors import UserError

SETTINGS = {"frames": 4, "fps": 8.0, "size": (24, 32), "seed": 3}
BATCH = 3


@pytest.fixture(scope="module")
def packed(builtin_set, tmp_path_factory):
    out = tmp_path_factory.mktemp("shards")
    assert main(["pack", str(builtin_set), str(out), "--videos-per-shard", "4"]) == 0
    return out


def batches(packed, count: int, workers: int = 0, start_batch: int = 0, rank: int = 0, world: int = 1) -> list[dict]:
    shards = read_list(packed, "train")
    clips = ShardedClips(
        shards, **SETTINGS, batch_size=BATCH, rank=rank, world=world, workers=workers, start_batch=start_batch
    )
    return list(islice(shard_loader(clips, workers), count))


def test_clips_from_shards_are_those_of_the_folder(builtin_set, packed):
    index = open_index(builtin_set, "train")
    clips = ClipDataset(index, train=True, in_memory=False, **SETTINGS)
    assert [shard.videos for shard in read_list(packed, "train").shards] == [4] * 7 + [2]
    order = []
    for batch in batches(packed, 20):
        for k, i in enumerate(batch["video_index"].tolist()):
            expected = clips[len(order) // len(clips), i]
            assert torch.equal(batch["video"][k], expected["video"])
            assert (batch["label"][k], batch["first_frame"][k]) == (expected["label"], expected["first_frame"])
            order.append(i)
    assert sorted(order[:30]) == sorted(order[30:]) == list(range(30))
    assert order[:30] != order[30:] != list(range(30))


@pytest.mark.parametrize(("workers", "starts"), [(0, (1, 13)), (2, (5,))])
def test_a_position_is_enough_to_go_on(packed, workers, starts):
    whole = batches(packed, 15, workers)
    for start in starts:
        for before, after in zip(whole[start:], batches(packed, 15 - start, workers, start), strict=True):
            assert torch.equal(before["video_index"], after["video_index"])
            assert torch.equal(before["video"], after["video"])


def test_nodes_and_workers_share_an_epoch(packed):
    seen = []
    for rank in range(2):
        shards = read_list(packed, "train")
        clips = ShardedClips(shards, **SETTINGS, batch_size=1, rank=rank, world=2, workers=2)
        for stream in range(2):
            share = clips._samples(stream, 0)
            seen += [sample.number for epoch, sample in islice(share, 8) if epoch == 0]
    assert sorted(seen) == list(range(30))
    with pytest.raises(UserError, match=r"8 shards cannot be split over 3 processes x 3 workers"):
        ShardedClips(shards, **SETTINGS, batch_size=1, rank=0, world=3, workers=3)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves the file open
def test_the_webdataset_library_reads_the_same(packed):
    webdataset = pytest.importorskip("webdataset")
    shard = read_list(packed, "test").shards[0]
    theirs = list(webdataset.WebDataset(shard.url, shardshuffle=False))
    for mine, sample in zip(read_shard(shard), theirs, strict=True):
        assert (sample["__key__"], sample["avi"]) == (f"{mine.number:08}", mine.content)
        assert json.loads(sample["json"])["name"] == mine.name


def rewritten(packed, folder, *extra: tuple[tarfile.TarInfo, bytes]):
    """The first shard of the test split with more members, and its list."""
    shard = read_list(packed, "test").shards[0]
    with tarfile.open(shard.url) as source, tarfile.open(folder / "a.tar", "w") as target:
        for member in source:
            target.addfile(member, source.extractfile(member))
        for member, content in extra:
            member.size = len(content)
            target.addfile(member, io.BytesIO(content))
    (folder / "test.json").write_text(json.dumps({"classes": [], "shards": [{"url": "a.tar", "videos": shard.videos}]}))
    return read_list(folder, "test").shards[0]


def test_members_and_addresses_are_checked(packed, tmp_path, monkeypatch):
    assert len(read_shard(rewritten(packed, tmp_path))) == 4
    link = tarfile.TarInfo("00000099.json")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    for member, message in (
        (tarfile.TarInfo("../00000099.json"), r"holds '../00000099.json', which is no video"),
        (link, "which is no video or record"),
        (tarfile.TarInfo("00000099.avi"), "is not a record followed by its video"),
        (tarfile.TarInfo("00000099.json"), "damaged record"),
    ):
        with pytest.raises(UserError, match=message):
            read_shard(rewritten(packed, tmp_path, (member, b"")))
    shard = rewritten(packed, tmp_path)
    content = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "a.tar").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"a.tar"):
        read_shard(shard)
    with pytest.raises(UserError, match=r"train.json is missing"):
        read_list(tmp_path, "train")
    command = {"classes": [], "shards": [{"url": "pipe:cat a.tar", "videos": 1}]}
    (tmp_path / "test.json").write_text(json.dumps(command))
    with pytest.raises(UserError, match=r"shell command 'cat a.tar'"):
        read_list(tmp_path, "test")
    monkeypatch.setenv("WDS_SECURE", "0")
    assert read_list(tmp_path, "test").shards[0].url == "pipe:cat a.tar"
