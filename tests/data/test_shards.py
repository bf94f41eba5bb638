import io
import json
import shutil
import tarfile
import warnings
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from threading import Thread

import pytest
import torch

from data.clips import ClipDataset
from data.index import open_index
from data.shards.clips import ShardedClips, Stream, shard_loader
from data.shards.files import Sample, read_list, read_records, read_shard
from data.shards.pack import main
from runtime.errors import UserError

SETTINGS = {"frames": 4, "fps": 8.0, "size": (24, 32), "seed": 3}
BATCH = 3


@pytest.fixture(scope="module")
def packed(builtin_set, tmp_path_factory):
    out = tmp_path_factory.mktemp("shards")
    assert main(["pack", str(builtin_set), str(out), "--videos-per-shard", "4"]) == 0
    return out


def batches(packed, count: int, workers: int = 0, start_batch: int = 0, rank: int = 0, world: int = 1) -> list[dict]:
    clips = ShardedClips(read_list(packed, "train"), **SETTINGS, batch_size=BATCH, rank=rank, world=world)
    return list(islice(shard_loader(clips.after(start_batch), workers), count))


def test_clips_from_shards_are_those_of_the_folder(builtin_set, packed):
    index, folder = open_index(packed, "train"), open_index(builtin_set, "train")
    clips = ClipDataset(index, train=True, in_memory=False, **SETTINGS)
    assert [shard.videos for shard in read_list(packed, "train").shards] == [4] * 7 + [2]
    seen = []
    for batch in batches(packed, 24):
        for k, i in enumerate(batch["video_index"].tolist()):
            candidates = {epoch: clips[epoch, i] for epoch in range(4) if (epoch, i) not in seen}
            epoch = next(e for e, clip in candidates.items() if torch.equal(batch["video"][k], clip["video"]))
            for field in ("label", "first_frame", "name"):
                assert batch[field][k] == candidates[epoch][field]
            seen.append((epoch, i))
    assert {(epoch, i) for epoch in range(2) for i in range(30)} <= set(seen)
    assert [i for epoch, i in seen if epoch == 0] != [i for epoch, i in seen if epoch == 1]
    assert index.names != folder.names  # packed at random
    assert dict(zip(index.names, index.labels, strict=True)) == dict(zip(folder.names, folder.labels, strict=True))


def test_the_index_of_shards_is_that_of_the_folder(builtin_set, packed):
    index, folder = open_index(packed, "test"), open_index(builtin_set, "test")
    places = [folder.names.index(name) for name in index.names]
    assert sorted(places) == list(range(10))
    assert (index.labels, index.classes) == (tuple(folder.labels[k] for k in places), folder.classes)
    for i in (9, 0, 4):
        with index.file(i) as info:
            assert info.path.read_bytes() == folder.videos[places[i]].path.read_bytes()
            assert replace(info, path=folder.videos[places[i]].path) == folder.videos[places[i]]
    packed_videos, videos = (
        ClipDataset(each, train=True, in_memory=True, **SETTINGS).stored for each in (index, folder)
    )
    assert all(torch.equal(packed_videos[i], videos[k]) for i, k in enumerate(places))


def test_packing_goes_on_where_it_stopped(builtin_set, packed, tmp_path, capsys):
    arguments = ["pack", str(builtin_set), str(tmp_path), "--videos-per-shard", "4"]
    assert main(arguments) == 0
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.tar")}
    assert before == {path.name: path.read_bytes() for path in packed.glob("*.tar")}
    kept, lost = tmp_path / "train-000001.tar", tmp_path / "train-000002.tar"
    stamp = kept.stat().st_mtime_ns
    for path in (lost, tmp_path / "train.shards.json"):
        path.unlink()
    with pytest.raises(UserError, match=r"train.shards.json is missing; python -m data.shards pack writes it"):
        open_index(tmp_path, "train")
    assert main(arguments) == 0
    assert before == {path.name: path.read_bytes() for path in tmp_path.glob("*.tar")}
    assert kept.stat().st_mtime_ns == stamp
    assert main([*arguments[:-1], "5"]) == 2
    assert "holds other shards" in capsys.readouterr().err
    for wrong, said in (([str(packed), str(tmp_path)], "holds shards"), ([str(builtin_set)] * 2, "lies in")):
        assert main(["pack", *wrong]) == 2
        assert said in capsys.readouterr().err


def equal(a: list[dict], b: list[dict]) -> bool:
    pairs = list(zip(a, b, strict=True))
    return all(torch.equal(x["video"], y["video"]) and x["name"] == y["name"] for x, y in pairs)


@pytest.mark.parametrize(("workers", "start"), [(0, 1), (0, 13), pytest.param(2, 5, marks=pytest.mark.full), (3, 7)])
def test_a_position_is_enough_to_go_on_with_any_number_of_workers(packed, workers, start):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This DataLoader will create")  # more workers than cores
        assert equal(batches(packed, 15)[start:], batches(packed, 15 - start, workers, start))


def test_processes_share_an_epoch(packed):
    shards = read_list(packed, "train")
    ranks = [ShardedClips(shards, **SETTINGS, batch_size=1, rank=rank, world=2) for rank in range(2)]
    assert [clips.streams for clips in ranks] == [4, 4]
    held = [shards.shards[next(Stream(clips, k).order)[1]] for clips in ranks for k in range(4)]
    assert sorted(shard.url for shard in held) == sorted(shard.url for shard in shards.shards)
    with pytest.raises(UserError, match=r"8 shards cannot be divided over 9 processes"):
        ShardedClips(shards, **SETTINGS, batch_size=1, rank=0, world=9)


def test_a_bad_file_gives_way_without_moving_the_others(packed, monkeypatch):
    whole, victim = batches(packed, 12), batches(packed, 1)[0]["name"][1]
    as_file = Sample.as_file

    monkeypatch.setattr(Sample, "as_file", lambda sample: broken_file(sample, victim, as_file))
    damaged = batches(packed, 12)
    for before, after in zip(whole, damaged, strict=True):
        for k, name in enumerate(before["name"]):
            assert (after["name"][k] == name) == (name != victim)
            assert after["skipped"][k] == (victim if name == victim else "")
    assert equal(damaged[5:], batches(packed, 7, start_batch=5))
    monkeypatch.setattr(Sample, "as_file", lambda sample: broken_file(sample, sample.record.name, as_file))
    with pytest.raises(UserError, match=r"no video of .*tar can be read"):
        batches(packed, 1)


def broken_file(sample: Sample, victim: str, as_file):
    return as_file(replace(sample, content=b"no video") if sample.record.name == victim else sample)


def test_a_damaged_shard_ends_a_worker_with_one_line(packed, tmp_path):
    copy = shutil.copytree(packed, tmp_path / "copy")
    for path in copy.glob("*.tar"):
        path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(UserError) as error:
        batches(copy, 1, workers=1)
    assert "is missing or damaged" in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_shards_in_another_order_than_their_records_are_noticed(packed, tmp_path):
    copy = shutil.copytree(packed, tmp_path / "copy")
    path = copy / "test.shards.json"
    content = json.loads(path.read_text())
    path.write_text(
        json.dumps({**content, "shards": [content["shards"][1], content["shards"][0], content["shards"][2]]})
    )
    with pytest.raises(UserError, match=r"where .* should be"), open_index(copy, "test").file(0):
        pass
    path.write_text(json.dumps({**content, "shards": content["shards"][:-1]}))
    with pytest.raises(UserError, match=r"hold 8 videos, their records are of 10"):
        open_index(copy, "test")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves the file open
def test_the_webdataset_library_reads_the_same(packed):
    webdataset = pytest.importorskip("webdataset")
    shard = read_list(packed, "test").shards[0]
    theirs = list(webdataset.WebDataset(shard.url, shardshuffle=False))
    for number, (mine, sample) in enumerate(zip(read_shard(shard), theirs, strict=True)):
        assert (sample["__key__"], sample["avi"]) == (f"{number:08}", mine.content)
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
    for wrong in (0, "4", None):
        with pytest.raises(UserError, match=r"is not a list of shards"):
            listed(tmp_path, "a.tar", wrong)
    for content in ("{}", "[", '{"videos": [{}]}'):
        (tmp_path / "test.videos.json").write_text(content)
        with pytest.raises(UserError, match=r"test.videos.json is damaged"):
            read_records(tmp_path, "test")


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
    for disguised in ("PIPE:touch a # ://", " pipe:touch a", "pi\tpe:touch a", "http://host/a b"):
        with pytest.raises(UserError, match=r"neither a path nor an address"):
            listed(tmp_path, disguised, 4)
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
    with pytest.raises(UserError, match=r"cannot be opened"):
        read_shard(listed(tmp_path, "gopher://host/a.tar", 4))


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...
