import json
import re
from math import hypot
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import PictureType

from data.synthetic import animation
from data.synthetic.animation import FPS, motion_frames, write_clip
from data.synthetic.dataset import main, write_dataset
from data.synthetic.factors import factors_of, read_factors
from data.synthetic.looks import HEIGHT, WIDTH, Look
from data.synthetic.motions import MOTIONS
from data.synthetic.plan import Clip, plan_clips, write_lists
from runtime.errors import UserError

SEED = 5


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("synthetic")
    assert write_dataset(root, videos_per_class=4, seed=SEED) == 4 * len(MOTIONS)
    return root


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_same_seeds_same_frames():
    first, again = motion_frames("Orbit", 1, 2), motion_frames("Orbit", 1, 2)
    assert first.dtype == np.uint8
    assert first.shape[1:] == (HEIGHT, WIDTH, 3)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[0], motion_frames("Orbit", 3, 2)[0])
    assert not np.array_equal(first[0], motion_frames("Orbit", 1, 3)[0])


@pytest.mark.parametrize("name", ["Bounce", "Spin", "Ripple"])
def test_nothing_of_the_sprite_is_cut_off_where_its_drawing_ends(name, monkeypatch):
    drawn = motion_frames(name, 20, 21)
    monkeypatch.setattr(Look, "reach", lambda look, distance: 3.0)
    np.testing.assert_array_equal(drawn, motion_frames(name, 20, 21))


def test_a_file_has_the_same_bytes_whoever_writes_it(dataset, tmp_path):
    clip = Clip("Ripple", 3, 1)
    write_clip(tmp_path / "again.avi", clip.name, *clip.seeds(SEED))
    assert (tmp_path / "again.avi").read_bytes() == (dataset / "UCF-101" / clip.file).read_bytes()


def test_files_are_the_frames_in_the_format_of_ucf101(dataset):
    for path in sorted(dataset.glob("UCF-101/*/*_g02_c01.avi")):
        clip = Clip(path.parent.name, 2, 1)
        drawn = motion_frames(clip.name, *clip.seeds(SEED))
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            frames = list(container.decode(stream))
            assert (stream.codec_context.name, stream.average_rate) == ("mpeg4", FPS)
            assert stream.frames == len(frames) == len(drawn)
        assert 50 <= len(frames) <= 75
        assert {PictureType(frame.pict_type).name for frame in frames} == {"I", "P"}
        decoded = np.stack([frame.to_ndarray(format="rgb24") for frame in frames])
        error = np.square(decoded.astype(np.float32) - drawn).mean()
        assert 10 * np.log10(255**2 / error) > 35


def test_factors_follow_from_the_settings_where_no_file_names_them(dataset, tmp_path):
    """A set made before there were factors has them, and gets the file when it is written again."""
    written = read_factors(dataset)
    assert list(written) == [clip.file for clip in plan_clips(4)]
    (tmp_path / "dataset.json").write_bytes((dataset / "dataset.json").read_bytes())
    assert read_factors(tmp_path) == written
    with av.open(str(dataset / "UCF-101/Swing/v_Swing_g03_c01.avi")) as container:
        assert container.streams.video[0].frames == len(written["Swing/v_Swing_g03_c01.avi"].pose["x"])
    assert read_factors(tmp_path / "UCF-101") is None
    (tmp_path / "factors.json").write_text("{")
    with pytest.raises(UserError, match="damaged"):
        read_factors(tmp_path)


@pytest.mark.parametrize("name", ["Drift", "Bounce"])
def test_factors_are_what_is_to_be_seen(name, monkeypatch):
    """Against a film without its sprite: where the pixels differ is the sprite, and what is left the ground."""
    bodies, seen = [], []
    for group in range(1, 7):
        clip = Clip(name, group, 1)
        factors, frames = factors_of(clip, SEED, None), motion_frames(name, *clip.seeds(SEED))[::7].astype(np.float32)
        with monkeypatch.context() as without:
            without.setattr(animation, "_draw_sprite", lambda *_: None)
            ground = motion_frames(name, *clip.seeds(SEED))[::7].astype(np.float32)
        drawn = np.abs(frames - ground).sum(-1) > 40
        y, x = ((np.arange(size) + 0.5 - size / 2) / (HEIGHT / 2) for size in (HEIGHT, WIDTH))
        for axis, places, along in (("x", x, 1), ("y", y, 2)):
            centre = (drawn.sum(along) * places).sum(1) / drawn.sum((1, 2))
            np.testing.assert_allclose(centre, factors.pose[axis][::7], atol=0.12)
        corners = np.array(factors.ground)
        assert (ground >= corners.min(0) - 1).all()
        assert (ground <= corners.max(0) + 1).all()
        assert factors.dark == (ground.mean() < 128)
        bodies.append(np.mean(factors.body, axis=0))
        seen.append(frames[drawn].mean(0))
    # Light and shadow change the body's colours, but not which body they are of.
    together = np.corrcoef(np.array(bodies).ravel(), np.array(seen).ravel())[0, 1]
    assert together > 0.9


def test_an_interrupted_write_goes_on_to_the_same_bytes(dataset):
    complete = contents(dataset)
    for lost in [*dataset.glob("UCF-101/*/*_g03_c01.avi"), *dataset.glob("ucfTrainTestlist/*")]:
        lost.unlink()
    half_written = dataset / "UCF-101/Spin/.v_Spin_g03_c01.avi.partial"
    half_written.write_bytes(b"RIFF")
    assert write_dataset(dataset, 4, SEED) == len(MOTIONS)
    assert contents(dataset) == complete
    assert write_dataset(dataset, 4, SEED) == 0
    assert json.loads(complete["dataset.json"]) == {"videos_per_class": 4, "seed": SEED}


@pytest.mark.parametrize("videos_per_class", [4, 9, 25, 60])
def test_lists_follow_the_official_format_and_split_by_group(tmp_path, videos_per_class):
    clips = plan_clips(videos_per_class)
    write_lists(tmp_path, clips)
    assert len(set(clips)) == videos_per_class * len(MOTIONS)
    classes = [line.split(" ") for line in (tmp_path / "classInd.txt").read_text().splitlines()]
    assert classes == [[str(label), name] for label, name in enumerate(MOTIONS, 1)]

    labels, tested, entry = {name: label for label, name in classes}, [], r"(\w+)/v_\1_g(\d\d)_c\d\d\.avi"
    for split in ("01", "02", "03"):
        train = (tmp_path / f"trainlist{split}.txt").read_text().splitlines()
        test = (tmp_path / f"testlist{split}.txt").read_text().splitlines()
        trained = [re.fullmatch(entry + r" (\d+)", line).groups() for line in train]
        held_out = [re.fullmatch(entry, line).groups() for line in test]
        assert all(labels[name] == label for name, _, label in trained)
        assert {line.split(" ")[0] for line in train} | set(test) == {clip.file for clip in clips}
        groups = {group for _, group in held_out}
        assert {name for name, _ in held_out} == set(MOTIONS)
        assert groups.isdisjoint(group for _, group, _ in trained)
        assert 0.2 <= len(groups) / len({clip.group for clip in clips}) < 0.35
        tested += groups
    assert len(tested) == len(set(tested))
    if videos_per_class == 25:  # 25 groups, as UCF-101 has: its own splits
        assert sorted(map(int, tested)) == list(range(1, 22))


def test_a_group_shares_its_look_and_nothing_else_does():
    clips = plan_clips(60)
    looks, motions = zip(*(clip.seeds(0) for clip in clips), strict=True)
    groups = [(clip.name, clip.group) for clip in clips]
    assert len(set(looks)) == len(set(groups)) == len(set(zip(groups, looks, strict=True)))
    assert len(set(motions)) == len(clips)
    assert set(looks).isdisjoint(clip.seeds(1)[0] for clip in clips)


def test_classes_differ_by_motion_only():
    """With the same seeds, the ten classes show the same moving ground wherever the sprite does not come."""
    clips = {name: motion_frames(name, 11, 12) for name in MOTIONS}
    edge = np.r_[:20, -20:0]
    for name, clip in clips.items():
        np.testing.assert_array_equal(clip[:, edge][:, :, edge], clips["Drift"][:, edge][:, :, edge])
        assert name == "Drift" or not np.array_equal(clip, clips["Drift"])


@pytest.mark.parametrize("name", ["Drift", "Orbit"])
def test_a_longer_clip_begins_with_the_shorter_one_and_goes_on_at_its_pace(name):
    short, long = motion_frames(name, 13, 14), motion_frames(name, 13, 14, seconds=4.0)
    assert len(long) == 4 * FPS
    np.testing.assert_array_equal(long[: len(short)], short)
    change = np.abs(np.diff(long[:, ::8, ::8].astype(np.float32), axis=0)).mean((1, 2, 3))
    assert 0.6 < change[len(short) :].mean() / change[: len(short)].mean() < 1.7


def test_a_set_of_longer_videos_says_so_and_is_no_other(tmp_path):
    one = Clip("Zoom", 1, 1)
    write_clip(tmp_path / "one.avi", one.name, *one.seeds(0), seconds=1.0)
    with av.open(str(tmp_path / "one.avi")) as container:
        assert container.streams.video[0].frames == FPS
    (tmp_path / "dataset.json").write_text(json.dumps({"videos_per_class": 4, "seed": 0, "seconds": 5.0}))
    with pytest.raises(UserError, match="other settings"):
        write_dataset(tmp_path, 4, 0)
    assert main([str(tmp_path / "new"), "--seconds", "0.5"]) == 2


@pytest.mark.parametrize("name", MOTIONS)
def test_the_action_stays_in_the_middle_and_has_no_preferred_side(name):
    sides = []
    for seed in range(200):
        motion = MOTIONS[name](np.random.default_rng(seed), 2.4)
        poses = [motion(time) for time in np.arange(0, 2.4, 1 / FPS)]
        later = [motion(time) for time in np.arange(2.4, 40, 0.3)]
        assert all(
            hypot(pose.x, pose.y) < 0.65 and 0.5 < pose.height < 1.8 and 0 <= pose.opacity <= 1
            for pose in poses + later
        )
        sides.append(poses[-1].x - poses[0].x)
    spread = np.std(sides) / np.sqrt(len(sides))
    assert abs(np.mean(sides)) <= 4 * spread


def test_mistakes_are_one_line(dataset, tmp_path, capsys):
    assert main([str(dataset), "--videos-per-class", "4", "--seed", "6"]) == 2
    assert main([str(tmp_path / "few"), "--videos-per-class", "3"]) == 2
    assert main([str(dataset / "dataset.json"), "--videos-per-class", "4"]) == 2
    (tmp_path / "UCF-101").mkdir()
    assert main([str(tmp_path)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith("error: ") for line in lines] == [True] * 4
    with pytest.raises(UserError, match="other settings"):
        write_dataset(dataset, 5, SEED)
