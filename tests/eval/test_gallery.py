"""The gallery shows what there is, clips that training never saw, and the nearest of those that it did."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

from autoencoder.model import VidTwin
from data.index import list_split
from data.video.frames import decode_all, probe, write_video
from eval.gallery.__main__ import LIMIT, main
from eval.gallery.clips import test_clips as clips_of
from eval.gallery.nearest import nearest_clips, windows
from eval.gallery.page import SECTIONS
from eval.gallery.samples import drawn_anew, of_classes
from eval.gallery.strip import Strip, write_strip
from eval.gallery.twins import taken_apart
from generator.draw import open_pipeline
from runtime.errors import UserError
from runtime.weights import load_model
from tests.documented_project import CLASSES, write_generator


@pytest.fixture(scope="module")
def run(stage1_run, tmp_path_factory):
    """A run whose generator can all that one can."""
    run = tmp_path_factory.mktemp("runs") / "shown"
    run.mkdir()
    for name in ("weights", "config.yaml"):
        (run / name).symlink_to(stage1_run / name)
    write_generator(run / "generator/weights/ema", load_model(VidTwin, run / "weights/ema"))
    return run


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Eleven grey videos, each of a scene of its own; the first and the last are held out."""
    folder = tmp_path_factory.mktemp("films")
    for number in range(11):
        write_video(folder / f"film{number:02}.mp4", torch.full((8, 24, 40, 3), 20 * number, dtype=torch.uint8), 8)
    return folder


def test_everything_there_is_is_shown_and_what_is_not_is_left_out(run, films, builtin_set, tmp_path, capsys):
    out = tmp_path / "docs/gallery"
    arguments = ["--data", str(builtin_set), "--films", str(films), "--out", str(out)]
    assert main(["--weights", str(run), *arguments]) == 0
    assert {file.stem for file in out.iterdir()} == SECTIONS.keys()
    for file in (*out.iterdir(), tmp_path / "docs/strip.webp"):
        with Image.open(file) as strip:
            assert (strip.n_frames, strip.info["loop"]) == (4, 0)
            assert strip.width <= 800
        assert file.stat().st_size <= LIMIT
    said = capsys.readouterr()
    assert "looking for training clips like the samples" in said.err
    assert said.out.splitlines()[-1].startswith(f"{tmp_path / 'docs/gallery.md'} shows 7 strips")

    assert main(["--weights", str(run / "weights/ema"), *arguments]) == 0
    assert "holds no generator: what it would draw is left out" in capsys.readouterr().out
    left = {"apart", "films", "swaps"}
    assert {file.stem for file in out.iterdir()} == left
    shown = re.findall(r"\]\((gallery/.*)\.webp\)", (tmp_path / "docs/gallery.md").read_text())
    assert shown == ["gallery/apart", "gallery/films", "gallery/swaps"]


def test_clips_are_of_scenes_that_training_never_saw(run, films, builtin_set, tmp_path):
    model = load_model(VidTwin, run / "weights/ema")
    found = clips_of(model, [films], 8.0, 6)
    assert found.titles == ["film00", "film10"]
    for clip, grey in zip(found.videos, (0, 200), strict=True):
        assert (clip.mean().add(1) * 127.5 - grey).abs() < 4
    spread = clips_of(model, [builtin_set], 8.0, 5)
    assert len(set(spread.titles)) == 5
    strip = taken_apart(model, spread)
    assert strip.videos.shape == (20, 4, 16, 16, 3)
    assert strip.captions[:6] == [*spread.titles, "reconstruction"]
    (tmp_path / "one").mkdir()
    (tmp_path / "one/film.mp4").symlink_to(films / "film00.mp4")
    with pytest.raises(UserError, match="holds a single scene, which training saw, too"):
        clips_of(model, [tmp_path / "one"], 8.0, 6)


def test_samples_are_the_same_each_time_and_one_latent_stays_where_it_is_given(run, builtin_set):
    pipeline = open_pipeline(run, scheduler=None, weak=None)
    first, again = of_classes(pipeline), of_classes(pipeline)
    assert torch.equal(first.videos, again.videos)
    assert first.captions == [name for name in CLASSES for _ in range(3)]
    clips = clips_of(pipeline.autoencoder, [builtin_set], 8.0, 2)
    strip = drawn_anew(pipeline, clips, "structure")
    assert len(strip.videos) == len(strip.captions) == 12
    assert strip.captions[6:9] == [f"given: {clips.titles[1]}", *CLASSES]


def test_the_nearest_clip_is_the_one_that_was_copied(builtin_set):
    home, files, _, _ = list_split(builtin_set, "train", 1)
    file = home / files[7]
    info = probe(file)
    every = windows(decode_all(info, (16, 16)), info.fps, 4, 8.0)
    step = info.fps / 8
    assert len(every) == 2 * (1 + int((info.frames - 1 - 3 * step) / step))
    copied = every[[2, -1]]  # the last is a mirror image
    found, titles = nearest_clips(copied, builtin_set, 8.0)
    assert torch.equal(found, copied)
    assert titles == [file.parent.name] * 2


def test_a_strip_shows_pixels_as_squares_and_stays_within_its_bytes(tmp_path):
    videos = torch.randint(256, (3, 2, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    strip = Strip(videos, ["a", "b", "c"], 2)
    sizes = {}
    for limit in (200_000, 30_000):
        write_strip(tmp_path / "strip.webp", strip, 8, limit)
        sizes[limit] = (tmp_path / "strip.webp").stat().st_size
        assert sizes[limit] <= limit
    assert sizes[30_000] < sizes[200_000]
    write_strip(tmp_path / "strip.webp", strip, 8, 200_000)
    with Image.open(tmp_path / "strip.webp") as shown:
        assert (shown.size, shown.n_frames) == ((2 * 132, 2 * 146), 2)
        pixels = torch.tensor(np.asarray(shown.convert("L")).copy()).float()
    first = pixels[14:142, :128].unfold(0, 4, 4).unfold(1, 4, 4)
    grey = videos[0, 0].float() @ torch.tensor([0.299, 0.587, 0.114])
    assert (first.mean((2, 3)) - grey).abs().mean() < 12
    with pytest.raises(UserError, match="even at the lowest quality"):
        write_strip(tmp_path / "small.webp", strip, 8, 100)
    assert not (tmp_path / "small.webp").exists()
