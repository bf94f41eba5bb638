import io
import json
import tarfile
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from threading import Thread

import pytest
import torch

from data.clips import ClipDataset
from data.index import open_index
from data.shard_files import is_packed, read_list, read_shard
from data.sharded import ShardedClips, shard_loader
from data.shards import main
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
    clips = ShardedClips(shards, **SETTINGS, batch_size=BATCH, rank=rank, world=world, workers=workers)
    return list(islice(shard_loader(clips.after(start_batch), workers), count))


def test_clips_from_shards_are_those_of_the_folder(builtin_set, packed):
    index, folder = open_index(packed, "train"), open_index(builtin_set, "train")
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
    assert index.names != folder.names  # packed at random
    assert dict(zip(index.names, index.labels, strict=True)) == dict(zip(folder.names, folder.labels, strict=True))


def test_the_index_of_shards_is_that_of_the_folder(builtin_set, packed):
    index, folder = open_index(packed, "test"), open_index(builtin_set, "test")
    assert (index.names, index.labels, index.classes) == (folder.names, folder.labels, folder.classes)
    for i in (9, 0, 4):
        with index.file(i) as info:
            assert info.path.read_bytes() == folder.videos[i].path.read_bytes()
            assert replace(info, path=folder.videos[i].path) == folder.videos[i]
    held = [ClipDataset(each, train=True, in_memory=True, **SETTINGS).stored for each in (index, folder)]
    assert all(torch.equal(a, b) for a, b in zip(*held, strict=True))


def test_packing_goes_on_where_it_stopped(builtin_set, packed, tmp_path, capsys):
    arguments = ["pack", str(builtin_set), str(tmp_path), "--videos-per-shard", "4"]
    assert main(arguments) == 0
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.tar")}
    assert before == {path.name: path.read_bytes() for path in packed.glob("*.tar")}
    kept, lost = tmp_path / "train-000001.tar", tmp_path / "train-000002.tar"
    stamp = kept.stat().st_mtime_ns
    for path in (lost, tmp_path / "train.shards.json"):
        path.unlink()
    assert not is_packed(tmp_path)
    assert main(arguments) == 0
    assert before == {path.name: path.read_bytes() for path in tmp_path.glob("*.tar")}
    assert kept.stat().st_mtime_ns == stamp
    assert main([*arguments[:-1], "5"]) == 2
    assert "holds other shards" in capsys.readouterr().err


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
        assert json.loads(sample["json"])["name"] == mine.record.name


def rewritten(packed, folder, *extra: tuple[tarfile.TarInfo, bytes]):
    """The first shard of the test split with more members, and its list."""
    shard = read_list(packed, "test").shards[0]
    with tarfile.open(shard.url) as source, tarfile.open(folder / "a.tar", "w") as target:
        for member in source:
            target.addfile(member, source.extractfile(member))
        for member, content in extra:
            member.size = len(content)
            target.addfile(member, io.BytesIO(content))
    return listed(folder, "a.tar", shard.videos)


def test_members_are_checked(packed, tmp_path):
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
    with pytest.raises(UserError, match=r"train.shards.json is missing"):
        read_list(tmp_path, "train")


def listed(folder, url: str, videos: int):
    """A list of one shard."""
    (folder / "test.shards.json").write_text(json.dumps({"classes": [], "shards": [{"url": url, "videos": videos}]}))
    return read_list(folder, "test").shards[0]


def test_shards_come_from_addresses_and_pipes(packed, tmp_path, monkeypatch):
    local = read_list(packed, "test").shards[0]
    with pytest.raises(UserError, match=r"shell command 'cat a.tar'"):
        listed(tmp_path, "pipe:cat a.tar", 4)
    monkeypatch.setenv("WDS_SECURE", "0")
    assert listed(tmp_path, "pipe:cat a.tar", 4).url == "pipe:cat a.tar"
    pytest.importorskip("webdataset")
    assert read_shard(listed(tmp_path, f"pipe:cat {local.url}", 4)) == read_shard(local)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=packed))
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        address = f"http://127.0.0.1:{server.server_port}"
        assert read_shard(listed(tmp_path, f"{address}/test-000000.tar", 4)) == read_shard(local)
        with pytest.raises(UserError, match=r"nowhere.tar is missing"):
            read_shard(listed(tmp_path, f"{address}/nowhere.tar", 4))
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    with pytest.raises(UserError, match=r"of no known kind"):
        read_shard(listed(tmp_path, "gopher://host/a.tar", 4))


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...
