import json
import os
import shutil

import pytest
import torch

from data import survey as surveying
from data.index import open_index
from data.survey import index_name
from data.ucf101 import check, main
from data.video.frames import write_video


@pytest.fixture
def inspected(monkeypatch):
    """Names of the files that are looked into, rather than known."""
    names, inspect_all = [], surveying.inspect_all
    monkeypatch.setattr(
        surveying, "inspect_all", lambda paths: (names.extend(path.name for path in paths), inspect_all(paths))[1]
    )
    return names


def test_only_new_and_changed_files_are_looked_into_again(tmp_path, inspected):
    root, cache = tmp_path / "videos", tmp_path / "run"
    root.mkdir()
    for i in range(4):
        write_video(root / f"{i}.mp4", torch.zeros(3 + i, 16, 16, 3, dtype=torch.uint8), 25)
    (root / "bad.mp4").write_text("no video")
    first = open_index(root, "train", cache=cache)
    assert open_index(root, "test", cache=cache).names == ("0.mp4",)
    assert sorted(inspected) == ["0.mp4", "1.mp4", "2.mp4", "3.mp4", "bad.mp4"]
    (kept,) = cache.iterdir()
    assert kept.name == index_name(root)
    inspected.clear()
    assert open_index(root, "train", cache=cache) == first == open_index(root, "train")
    assert sorted(set(inspected)) == sorted(inspected)  # once, for the index without a cache
    inspected.clear()
    write_video(root / "1.mp4", torch.zeros(9, 16, 16, 3, dtype=torch.uint8), 25)
    os.utime(root / "2.mp4", (1, 1))
    shutil.copy(root / "3.mp4", root / "bad.mp4")
    shutil.copy(root / "3.mp4", root / "4.mp4")
    changed = open_index(root, "train", cache=cache)
    assert sorted(inspected) == ["1.mp4", "2.mp4", "4.mp4", "bad.mp4"]
    assert dict(zip(changed.names, (video.frames for video in changed.videos), strict=True)) == {
        "1.mp4": 9,
        "2.mp4": 5,
        "3.mp4": 6,
        "4.mp4": 6,
        "bad.mp4": 6,
    }
    for content in ("{", json.dumps({"version": "0", "root": str(root), "files": {}})):
        inspected.clear()
        kept.write_text(content)
        assert open_index(root, "train", cache=cache) == changed
        assert len(inspected) == 5


def test_check_names_what_a_copy_lacks(builtin_set, tmp_path, capsys):
    assert main(["check", str(builtin_set)]) == 0
    root = shutil.copytree(builtin_set, tmp_path / "set")
    folder = root / "UCF-101" / "Spin"
    missing, bad, short, kept = sorted(folder.iterdir())
    missing.unlink()
    bad.write_text("no video")
    short.write_bytes(short.read_bytes()[:60_000])
    shutil.copy(kept, folder / "extra.avi")
    found = check(root)
    assert (found.videos, found.mistakes, found.complete) == (40, (), False)
    assert (found.missing, found.extra) == ((f"Spin/{missing.name}",), ("Spin/extra.avi",))
    assert [name for name, _ in found.bad + found.short] == [f"Spin/{bad.name}", f"Spin/{short.name}"]
    capsys.readouterr()
    assert main(["check", str(root)]) == 2
    printed = capsys.readouterr()
    assert all(state in printed.out for state in ("missing", "extra", "bad", "short"))
    assert "is incomplete: 40 videos listed, 1 missing, 1 extra, 1 bad, 1 short" in printed.err


def test_check_holds_the_lists_against_each_other_and_against_the_official_numbers(builtin_set, tmp_path):
    lists = shutil.copytree(builtin_set / "ucfTrainTestlist", tmp_path / "set" / "ucfTrainTestlist")
    (tmp_path / "set" / "UCF-101").symlink_to(builtin_set / "UCF-101")
    train = (lists / "trainlist01.txt").read_text().splitlines()
    (lists / "trainlist01.txt").write_text("\n".join(train[1:]))
    twice = (lists / "trainlist02.txt").read_text().split()[0]
    with (lists / "testlist02.txt").open("a") as test:
        test.write(twice + "\n")
    assert check(tmp_path / "set").mistakes == (
        "split 1 lists 39 of the 40 videos in all lists",
        "split 2 has 1 groups in both train and test",
        "split 2 lists 1 videos twice",
    )
    with (lists / "classInd.txt").open("a") as classes:
        classes.writelines(f"{number} Class{number}\n" for number in range(11, 102))
    official = check(tmp_path / "set").mistakes[3:]
    assert official[0] == "the lists name 40 videos, UCF-101 has 13320"
    assert official[2].endswith("officially 9537 + 3783")
    assert len(official) == 5
