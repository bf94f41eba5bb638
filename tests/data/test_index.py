import shutil

import pytest
import torch

from data import ucf101
from data.index import UNLABELLED, join, open_index
from data.video.frames import write_video
from runtime.errors import UserError

CLASSES = ("Walk", "Archery")  # not in alphabetical order: classInd.txt decides


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "a.mp4"
    write_video(path, torch.zeros(3, 16, 16, 3, dtype=torch.uint8), 25)
    return path


@pytest.fixture(params=["\n", "\r\n"], ids=["LF", "CRLF"])
def ucf(tmp_path, video, request):
    """Two classes of three groups; group 1 is held out."""
    files = [f"{name}/v_{name}_g{g:02}_c01.avi" for name in CLASSES for g in (1, 2, 3)]
    for file in files:
        (tmp_path / "UCF-101" / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(video, tmp_path / "UCF-101" / file)
    lists = {
        "classInd.txt": [f"{number} {name}" for number, name in enumerate(CLASSES, start=1)],
        "trainlist01.txt": [f"{f} {1 + CLASSES.index(f.split('/')[0])}" for f in files if "_g01_" not in f],
        "testlist01.txt": [f for f in files if "_g01_" in f],
    }
    (tmp_path / "ucfTrainTestlist").mkdir()
    for name, lines in lists.items():
        (tmp_path / "ucfTrainTestlist" / name).write_text(request.param.join([*lines, ""]), newline="")
    return tmp_path


def test_ucf101_takes_files_labels_and_order_from_the_lists(ucf):
    train, test = open_index(ucf, "train"), open_index(ucf, "test")
    assert train.classes == test.classes == CLASSES
    assert (train.labels, test.labels) == ((0, 0, 1, 1), (0, 1))
    assert [ucf101.group_of(name) for name in train.names] == [2, 3, 2, 3]
    assert [ucf101.group_of(name) for name in test.names] == [1, 1]
    assert [info.path.name for info in train.videos] == [name.split("/")[-1] for name in train.names]
    assert not train.bad + test.bad


def test_bad_and_missing_videos_are_left_out_by_name(ucf):
    folder = ucf / "UCF-101/Walk"
    (folder / "v_Walk_g02_c01.avi").write_bytes(b"")
    (folder / "v_Walk_g03_c01.avi").unlink()
    index = open_index(ucf, "train")
    assert index.labels == (1, 1)
    assert [(name.split("/")[-1], reason) for name, reason in index.bad] == [
        ("v_Walk_g02_c01.avi", "is empty"),
        ("v_Walk_g03_c01.avi", "no such file"),
    ]


def test_mistakes_in_ucf101_are_told(ucf):
    lists = ucf / "ucfTrainTestlist"
    with pytest.raises(UserError, match=r"testlist02.txt is missing"):
        open_index(ucf, "test", fold=2)
    (lists / "trainlist01.txt").write_text("Run/v_Run_g01_c01.avi 3\n")
    with pytest.raises(UserError, match=r"Run/v_Run_g01_c01.avi, whose class is not in classInd.txt"):
        open_index(ucf, "train")
    (lists / "classInd.txt").write_text("Walk\n")
    with pytest.raises(UserError, match=r"classInd.txt is not a list"):
        open_index(ucf, "test")
    shutil.rmtree(lists)
    with pytest.raises(UserError, match="ucfTrainTestlist/ is missing"):
        open_index(ucf, "train")


def test_lists_without_videos_are_half_a_ucf101(tmp_path):
    (tmp_path / "ucfTrainTestlist").mkdir()
    with pytest.raises(UserError, match="UCF-101/ is missing"):
        open_index(tmp_path, "train")


def test_any_folder_of_videos_holds_every_tenth_out(tmp_path, video):
    names = [f"{i % 3}/{i:02}.MP4" for i in range(21)]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(video, tmp_path / name)
    (tmp_path / "notes.txt").write_text("no video")
    (tmp_path / ".hidden.mp4").write_text("no video")
    train, test = open_index(tmp_path, "train"), open_index(tmp_path, "test")
    assert len(test.names) == 3
    assert sorted(train.names + test.names) == sorted(names)
    assert train.names == tuple(sorted(train.names))
    assert train.classes == test.classes == ("0", "1", "2")
    for index in (train, test):
        assert [index.classes[label] for label in index.labels] == [name.split("/")[0] for name in index.names]
    shutil.copy(video, tmp_path / "lone.mp4")
    lone = open_index(tmp_path, "train")
    assert (set(lone.labels), lone.classes) == ({UNLABELLED}, ())


def test_a_scene_is_held_out_as_a_whole(tmp_path, video):
    """Where names are UCF-101's, a group stays on one side."""
    names = [f"v_Walk_g{group:02}_c{clip:02}.mp4" for group in range(12) for clip in (1, 2, 3)]
    for name in names:
        shutil.copy(video, tmp_path / name)
    train, test = open_index(tmp_path, "train"), open_index(tmp_path, "test")
    assert {ucf101.group_of(name) for name in test.names} == {0, 10}
    assert {ucf101.group_of(name) for name in train.names} == set(range(12)) - {0, 10}
    assert sorted(train.names + test.names) == names


def test_sets_that_are_joined_come_behind_the_first_as_often_as_asked(ucf, tmp_path_factory, video):
    other = tmp_path_factory.mktemp("films")
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        shutil.copy(video, other / name)
    first, films = open_index(ucf, "train"), open_index(other, "train")
    joined = join(first, [films], 2)
    assert joined.names == (*first.names, "b.mp4", "c.mp4", "b.mp4", "c.mp4")
    assert joined.labels == (*first.labels, *4 * [UNLABELLED])
    assert joined.classes == first.classes
    assert [info.path.name for info in joined.videos] == [name.split("/")[-1] for name in joined.names]


def test_a_single_video_serves_both_splits(tmp_path, video):
    shutil.copy(video, tmp_path)
    assert open_index(tmp_path, "train").names == open_index(tmp_path, "test").names == (video.name,)


def test_a_folder_without_a_readable_video_is_an_error(tmp_path):
    with pytest.raises(UserError, match="there is no folder"):
        open_index(tmp_path / "nowhere", "train")
    with pytest.raises(UserError, match="holds no videos"):
        open_index(tmp_path, "train")
    (tmp_path / "a.avi").touch()
    with pytest.raises(UserError, match=r"none of the 1 videos in .* can be read; the first, a.avi: is empty"):
        open_index(tmp_path, "train")
