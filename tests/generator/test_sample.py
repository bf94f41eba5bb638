"""Samples: which classes, drawn how, from (seed, number) alone, recorded so that they can be drawn again; and walks."""

import json

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from data.clips import ClipDataset
from data.index import open_index
from data.latents import TwinLatents
from data.video.frames import probe, to_float
from generator import sample, walk
from generator.draw import open_pipeline
from generator.pipeline import load_pipeline, save_pipeline
from generator.samples import SAMPLES, SETTINGS
from runtime.errors import UserError
from tests.small_pipeline import DIFFUSERS_ON_NUMPY_2, make_pipeline


def drawn(weights, out, *options):
    """What the script writes, and what it records."""
    assert sample.main(["--weights", str(weights), "--out", str(out), *map(str, options)]) == 0
    return load_file(out / SAMPLES), json.loads((out / SETTINGS).read_text())


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def weights(stage2_run):
    return stage2_run / "weights/ema"


@pytest.fixture(scope="module")
def separate(tmp_path_factory):
    """A generator with a time for each latent, that goes on after a window."""
    folder = tmp_path_factory.mktemp("generators") / "separate"
    save_pipeline(make_pipeline(times="separate", context=True), folder)
    return folder


FIVE = ("--classes", "Spin,Blink", "--num", 5, "--seed", 3, "--steps", 2, "--guidance", 1.5)


def test_samples_depend_on_seed_and_number_alone(weights, launch, tmp_path):
    """Equal bits for one process, two, and an interruption at one batch size; close across batch sizes."""
    one, said = drawn(weights, tmp_path / "one", *FIVE, "--batch-size", 2)
    arguments = ["--weights", weights, "--out", tmp_path / "two", *FIVE, "--batch-size", 2]
    done = launch("generator.sample", *map(str, arguments), ranks=2)
    assert done.returncode == 0, done.stderr
    assert equal(load_file(tmp_path / "two" / SAMPLES), one)
    other, _ = drawn(weights, tmp_path / "other", *FIVE, "--batch-size", 5)
    coarse, rounded = drawn(weights, tmp_path / "coarse", *FIVE, "--batch-size", 2, "--precision", "bf16")
    for latent in ("structure", "dynamics"):
        torch.testing.assert_close(other[latent], one[latent], rtol=0, atol=1e-3)
        assert 0 < (coarse[latent] - one[latent]).abs().max() < 0.05 * one[latent].abs().max()
    assert (said["precision"], rounded["precision"]) == ("fp32", "bf16")
    first, _ = drawn(weights, tmp_path / "first", *FIVE, "--batch-size", 2, "--num", 2)
    assert all(torch.equal(first[name], one[name][:2]) for name in one)


def test_an_interrupted_sampling_goes_on_with_what_it_has(weights, tmp_path, monkeypatch):
    whole, _ = drawn(weights, tmp_path / "whole", *FIVE, "--batch-size", 2)
    calls, draw = [], sample.draw

    def killed_in_the_second(pipeline, labels, indices, *rest):
        calls.append(indices.start)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return draw(pipeline, labels, indices, *rest)

    monkeypatch.setattr(sample, "draw", killed_in_the_second)
    arguments = ["--weights", str(weights), "--out", str(tmp_path / "out"), *map(str, FIVE), "--batch_size", "2"]
    assert sample.main(arguments) == 130
    drawn(weights, tmp_path / "out", *FIVE[:-1], 1.0, "--batch-size", 2)  # other settings: nothing is taken over
    del calls[2:]
    again, _ = drawn(weights, tmp_path / "out", *FIVE, "--batch-size", 2)
    assert calls == [0, 2, 2, 4]
    assert equal(again, whole)
    assert not list((tmp_path / "out").glob(".parts*"))


def test_the_folder_holds_what_was_drawn_last_and_what_others_put_there(weights, tmp_path):
    def files():
        return sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())

    tensors, said = drawn(weights, tmp_path, "--classes", "Spin,Blink", "--num", 3)
    videos = ["Spin/00000.mp4", "Blink/00001.mp4", "Spin/00002.mp4"]
    assert said["videos"] == videos
    assert files() == sorted([*videos, "grid.mp4", "grid.png", SETTINGS, SAMPLES])
    assert tensors["videos"].shape == (3, 4, 16, 16, 3)
    assert tensors["videos"].dtype == torch.uint8
    (tmp_path / "Spin/mine.mp4").write_text("not of the sampler")
    drawn(weights, tmp_path, "--classes", "Blink", "--num", 1)
    assert files() == sorted(["Blink/00000.mp4", "Spin/mine.mp4", "grid.mp4", "grid.png", SETTINGS, SAMPLES])


def test_the_record_is_enough_to_draw_them_again(weights, tmp_path):
    first, said = drawn(
        weights, tmp_path / "a", "--classes", "Blink,3", "--num", 3, "--scheduler", "euler", "--interval", 0.2, 0.8
    )
    names = load_pipeline(weights).config.classes
    assert said["classes"] == ["Blink", names[3]]
    options = ["--classes", ",".join(said["classes"]), "--interval", *said["interval"]]
    for name in ("num", "scheduler", "steps", "guidance", "order", "windows", "seed", "batch_size", "precision"):
        options += [f"--{name}", said[name]]
    again, told = drawn(said["weights"], tmp_path / "b", *options)
    assert equal(again, first)
    assert {**told, "environment": 0} == {**said, "environment": 0}
    assert said["environment"]["packages"].keys() >= {"torch", "diffusers"}
    assert said["sha256"].keys() == {"transformer", "autoencoder"}


def test_a_runs_samples_go_into_the_run_and_those_of_other_weights_where_they_are_told(
    weights, tmp_path, monkeypatch, capsys
):
    (tmp_path / "runs/mine/generator/weights").mkdir(parents=True)
    (tmp_path / "runs/mine/generator/weights/ema").symlink_to(weights)
    monkeypatch.chdir(tmp_path)
    assert sample.main(["--weights", "runs/mine", "--num", "1"]) == 0
    assert "runs/mine/samples/grid.png" in capsys.readouterr().out
    alone, _ = drawn(weights, tmp_path / "alone", "--num", 1)
    assert equal(load_file(tmp_path / "runs/mine/samples" / SAMPLES), alone)
    assert sample.main(["--weights", str(weights), "--num", "1"]) == 2
    assert "say with --out where the samples go" in capsys.readouterr().err


def test_classes_take_turns_and_are_balanced_where_that_is_asked_for(weights):
    pipeline = load_pipeline(weights)
    assert sample.chosen_classes(pipeline, "", 20, balanced=True) == list(range(10))
    assert sample.chosen_classes(pipeline, "2, 5", 3, balanced=False) == [2, 5]
    with pytest.raises(UserError, match=r"^--num 25 is not balanced over 10 classes; the nearest is --num 20 or 30$"):
        sample.chosen_classes(pipeline, "", 25, balanced=True)
    with pytest.raises(UserError, match=r"the nearest is --num 10$"):
        sample.chosen_classes(pipeline, "", 3, balanced=True)


@pytest.mark.filterwarnings(DIFFUSERS_ON_NUMPY_2)
def test_options_change_how_samples_are_drawn_as_the_pipeline_does(weights, tmp_path):
    found = {}
    for name, options in {
        "saved": (),
        "dpm": ("--scheduler", "dpm"),
        "narrow": ("--interval", 0.4, 0.6),
        "weak": ("--weak", weights.with_name("raw")),
    }.items():
        found[name], _ = drawn(weights, tmp_path / name, "--num", 2, "--steps", 5, *options)
    for a, b in (("saved", "dpm"), ("saved", "narrow"), ("saved", "weak")):
        assert not torch.equal(found[a]["structure"], found[b]["structure"])
    torch.manual_seed(0)
    guided = open_pipeline(weights, None, weights)  # by itself: no guidance at all
    layout = guided.transformer.layout
    noise = [TwinLatents(torch.randn(1, *layout.structure_shape), torch.randn(1, *layout.dynamics_shape))]
    plain = open_pipeline(weights, None, None)
    itself, free = (
        pipe(0, guidance_scale=scale, latents=noise, output_type="latent").frames
        for pipe, scale in ((guided, 3), (plain, 1))
    )
    torch.testing.assert_close(itself.structure, free.structure)


def test_a_video_gives_one_latent_to_every_sample(separate, builtin_set, tmp_path):
    clips = ClipDataset(open_index(builtin_set, "train", cache=tmp_path), 4, 8.0, (16, 16), 0, False, False)
    pipeline, video = load_pipeline(separate), clips.index.videos[0].path
    with torch.no_grad():
        donor = pipeline.autoencoder.encode(to_float(clips[0, 0]["video"][None])).mode()
    for latent, other in (("structure", "dynamics"), ("dynamics", "structure")):
        tensors, said = drawn(separate, tmp_path / latent, "--num", 2, f"--{latent}_from", video)
        for each in tensors[latent]:
            torch.testing.assert_close(each, getattr(donor, latent), rtol=1e-4, atol=1e-4)
        assert not torch.equal(*tensors[other])
        assert said[f"{latent}_from"] == str(video)


def test_longer_videos_go_on_from_the_same_first_window(separate, tmp_path):
    one, _ = drawn(separate, tmp_path / "one", "--num", 2)
    three, _ = drawn(separate, tmp_path / "three", "--num", 2, "--windows", 3)
    assert three["videos"].shape[1] == 3 * one["videos"].shape[1] == 12
    assert torch.equal(three["structure"][:, :1], one["structure"])
    assert three["structure"].shape[1] == 3
    assert probe(tmp_path / "three/grid.mp4").frames == 12
    first, _ = drawn(separate, tmp_path / "first", "--num", 2, "--order", "structure_first")
    assert not torch.equal(first["structure"], one["structure"])


MISTAKES = {
    "no class is named Archery": ("--classes", "Archery"),
    "the scheduler ddim does not sample flow predictions: choose heun, euler, dpm, unipc": ("--scheduler", "ddim"),
    "0 sampling steps": ("--steps", "0"),
    "guidance between the noise levels 0.9 and 0.1": ("--interval", "0.9", "0.1"),
    "this generator draws both latents together only": ("--order", "structure_first"),
    "this generator knows one window only": ("--windows", "2"),
    "--num and --batch_size must be at least 1": ("--num", "0"),
    "--num 16 is not balanced over 10 classes": ("--balanced",),
}


@pytest.mark.parametrize("said", MISTAKES)
def test_a_mistake_is_one_line(said, weights, tmp_path, capsys):
    assert sample.main(["--weights", str(weights), "--out", str(tmp_path), *MISTAKES[said]]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {said}")
    assert error.count("\n") == 1


def test_a_weaker_generator_of_another_kind_is_refused(weights, separate, tmp_path, capsys):
    assert sample.main(["--weights", str(weights), "--out", str(tmp_path), "--weak", str(separate)]) == 2
    assert "cannot guide" in capsys.readouterr().err
    assert sample.main(["--weights", str(tmp_path / "none"), "--out", str(tmp_path)]) == 2
    assert "holds no generator" in capsys.readouterr().err


def test_a_walk_begins_and_ends_at_samples(separate, tmp_path, monkeypatch):
    videos = []
    monkeypatch.setattr(walk, "labelled_grid", lambda tiles, *rest: videos.append((tiles, *rest)) or tiles[0])
    arguments = ["--weights", str(separate), "--classes", "Archery,Surfing", "--seeds", "0,9", "--points", "3"]
    assert walk.main([*arguments, "--out", str(tmp_path)]) == 0
    [(tiles, labels, columns)] = videos
    assert columns == 3
    assert labels[0::4] == ["Archery, 0", "50%, 50%", "Surfing, 9"]
    for corner, (name, seed) in {0: ("Archery", 0), 2: ("Surfing", 0), 6: ("Archery", 9), 8: ("Surfing", 9)}.items():
        tensors, _ = drawn(separate, tmp_path / str(corner), "--num", 1, "--classes", name, "--seed", seed)
        assert (tensors["videos"][0].int() - tiles[corner].int()).abs().max() <= 1
    assert not torch.equal(tiles[4], tiles[0])
    assert probe(tmp_path / "walk.mp4").frames == 4


def test_noise_between_two_seeds_is_as_long_as_noise():
    a, b = torch.randn(2, 8, 16, 7, 7, generator=torch.Generator().manual_seed(0)).unbind()
    b *= a.norm() / b.norm()
    for share in (0.25, 0.5, 0.8):
        between = walk.slerp(a, b, share)
        torch.testing.assert_close(between.norm(), a.norm())
        to_a, to_b = (F.cosine_similarity(x.flatten(), between.flatten(), dim=0).acos() for x in (a, b))
        torch.testing.assert_close(to_a / (to_a + to_b), torch.tensor(share))
    for share, end in ((0, a), (1, b)):
        torch.testing.assert_close(walk.slerp(a, b, share), end)
    assert torch.equal(walk.slerp(a, a, 0.3), a)
