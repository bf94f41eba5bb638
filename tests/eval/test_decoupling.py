"""The decoupling score is what it is defined to be where the truth is known, and the script measures what it says."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from data.clips import ClipDataset, choose_window
from data.index import open_index
from data.synthetic.animation import film, motion_frames, plan_take
from data.synthetic.dataset import write_dataset
from data.synthetic.factors import read_factors
from data.synthetic.looks import design_look
from data.synthetic.plan import plan_clips
from data.video.frames import fit
from eval import decoupling
from eval.classifier import TrainingConfig, accuracy, load_classifier
from eval.report import all_videos, open_autoencoder, open_clips
from eval.twins.factors import Factor, factors_of
from eval.twins.flow import correlation, flow, flow_energy
from eval.twins.following import Judged, draw_pairs, follow, summarise
from eval.twins.judges import train_judge
from eval.twins.ridge import fit_ridge
from eval.twins.swaps import VidTwins

CLIPS = 170


def scored(case: str, mistakes: float) -> dict:
    """The score of known twins under judges that are wrong so often, at random."""
    numbers = torch.Generator().manual_seed(5)
    pairs, scores = draw_pairs(CLIPS, 3), {}
    for name, latent, classes in (("motion", "dynamics", 10), ("shape", "structure", 6), ("colour", "structure", 3)):

        def judge(truth, classes=classes):
            wrong = (truth + torch.randint(1, classes, truth.shape, generator=numbers)) % classes
            return torch.where(torch.rand(truth.shape, generator=numbers) < mistakes, wrong, truth)

        labels = torch.randint(classes, (CLIPS,), generator=numbers)
        places = {
            "perfect": getattr(pairs, latent),
            "exchanged": pairs.structure if latent == "dynamics" else pairs.dynamics,
            "all in dynamics": pairs.dynamics,
            "all in structure": pairs.structure,
            "random": torch.randint(CLIPS, pairs.structure.shape, generator=numbers),
        }[case]
        seen = judge(labels), judge(labels), judge(labels[places])
        figures, score = follow(Judged(Factor(name, latent, classes, None), labels, *seen), pairs)
        assert figures["measurable"]
        assert sum(figures[each]["value"] for each in ("structure", "dynamics", "neither")) == pytest.approx(1)
        scores[name] = (latent, score)
    return summarise(scores)


TRUE = {"perfect": 1, "exchanged": -1, "all in dynamics": 0, "all in structure": 0, "random": 0}


@pytest.mark.parametrize("case", TRUE)
def test_known_twins_have_the_score_that_they_are_owed_whatever_their_judges_mistake(case):
    exact, noisy = scored(case, 0.0), scored(case, 0.2)
    assert exact["value"] == pytest.approx(TRUE[case], abs=1e-12 if case != "random" else 0.1)
    for found in (noisy, exact):
        low, high = found["interval"]
        assert low - 1e-9 <= TRUE[case] <= high + 1e-9
        assert high - low < 0.4
    latents = {name: each["value"] for name, each in exact["latents"].items()}
    if case == "all in dynamics":
        assert latents == {"structure": pytest.approx(-1), "dynamics": pytest.approx(1)}


def test_a_factor_that_real_clips_do_not_give_away_is_not_measured():
    labels, pairs = torch.arange(60) % 4, draw_pairs(60, 2)
    guessed = torch.zeros_like(labels)
    figures, score = follow(
        Judged(Factor("shape", "structure", 4, None), labels, guessed, guessed, labels[pairs.structure]), pairs
    )
    assert (figures["measurable"], score) == (False, None)
    assert figures["chance"] == 0.25
    assert summarise({}) is None


def test_every_clip_gives_both_latents_to_others_alike():
    pairs = draw_pairs(25, 4)
    assert (pairs.structure != pairs.dynamics).all()
    for places in pairs:
        assert (places.bincount() == 4).all()


def test_ridge_is_least_squares_with_rows_that_hold_weights_back():
    numbers = np.random.default_rng(3)
    rows, targets = numbers.normal(2, 3, (40, 7)), numbers.normal(size=(40, 2))
    [weak, strong] = fit_ridge(torch.tensor(rows), torch.tensor(targets), (1e-9, 0.3))
    inputs, wanted = (rows - rows.mean(0)) / rows.std(0, ddof=1), targets - targets.mean(0)
    for found, strength in ((weak, 1e-9), (strong, 0.3)):
        held = np.concatenate([inputs, np.sqrt(40 * strength) * np.eye(7)])
        expected = np.linalg.lstsq(held, np.concatenate([wanted, np.zeros((7, 2))]), rcond=None)[0]
        np.testing.assert_allclose(found.weights.numpy(), expected, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(found(torch.tensor(rows)).numpy(), inputs @ expected + targets.mean(0), rtol=1e-6)


def moving(shift, side=48):
    """Waves that move by `shift` pixels, x and y, from frame to frame: uint8 `1 c t h w`."""
    t, y, x = torch.meshgrid(torch.arange(6.0), torch.arange(float(side)), torch.arange(float(side)), indexing="ij")
    u, v = x - t * shift[0], y - t * shift[1]
    wave = torch.sin(u / 4) + torch.sin(v / 5 + 1) + torch.sin((u + v) / 7)
    return (127.5 + 40 * wave).round().to(torch.uint8).expand(1, 3, -1, -1, -1)


@pytest.mark.parametrize("shift", [(0.5, 0.0), (-0.7, 0.3), (0.0, 1.0)])
def test_flow_is_the_displacement_of_what_moves(shift):
    found = flow(moving(shift).float() / 127.5 - 1)[..., 8:-8, 8:-8]
    assert found.mean((0, 2, 3, 4)).tolist() == pytest.approx(shift, abs=0.06)


def test_energy_of_flow_grows_with_speed_and_not_with_size():
    energies = [flow_energy(moving((speed, 0))).item() for speed in (0, 0.25, 0.5, 1, 2)]
    assert energies == sorted(energies)
    assert energies[3] - energies[2] == pytest.approx(np.log(4), abs=0.25)
    larger = moving((0.5, 0)).repeat_interleave(2, -1).repeat_interleave(2, -2)
    assert flow_energy(larger).item() == pytest.approx(energies[2], abs=0.1)


def test_correlation_is_that_of_numpy_for_each_row_of_weights():
    numbers = np.random.default_rng(0)
    a, b, times = numbers.normal(size=30), numbers.normal(size=30), numbers.integers(0, 3, (2, 30))
    found = correlation(*(torch.tensor(each) for each in (a, b, times.astype(float))))
    expected = [np.corrcoef(np.repeat(a, row), np.repeat(b, row))[0, 1] for row in times]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)


def measured(run, data, out, *options):
    arguments = ["--run", run, "--data", data, "--out", out, "--classifier_steps", 2, "--partners", 2, *options]
    assert decoupling.main(list(map(str, arguments))) == 0
    return json.loads((out / "decoupling.json").read_text())


def test_the_script_measures_a_run_and_shows_it(stage1_run, builtin_set, tmp_path, capsys):
    figures = measured(stage1_run, builtin_set, tmp_path)
    assert list(figures["factors"]) == ["motion", "shape", "sprite colour", "background"]
    assert (figures["clips"], figures["swaps"]) == (10, 20)
    model = open_autoencoder(stage1_run)
    test = open_clips(model, builtin_set, "test", tmp_path)
    clips, every = all_videos(test), torch.arange(10)
    twins, labels = VidTwins(model, clips), torch.tensor(test.index.labels)
    judge = load_classifier(tmp_path / "classifier")
    assert figures["factors"]["motion"]["real"] == accuracy(judge, clips, labels)
    assert figures["factors"]["motion"]["reconstruction"] == accuracy(judge, twins(every, every), labels)
    for given in ("structure", "dynamics", "mean frame", "frames"):
        assert 0 <= figures["probes"]["background"][given]["value"] <= 1
    assert figures["probes"]["speed"]["measure"] == "R2"
    for name in ("decoupling.png", "swaps.png"):
        with Image.open(tmp_path / name) as picture:
            assert min(picture.size) > 200
    said, written = capsys.readouterr().out, (tmp_path / "decoupling.md").read_text()
    assert "not measurable" in said
    assert "\n| sprite colour" in written


def test_where_factors_are_not_known_class_and_flow_are_measured(stage1_run, builtin_set, tmp_path, capsys):
    data = tmp_path / "data"
    data.mkdir()
    for name in ("UCF-101", "ucfTrainTestlist"):
        (data / name).symlink_to(builtin_set / name)
    figures = measured(stage1_run, data, tmp_path / "out")
    assert list(figures["factors"]) == list(figures["probes"]) == ["class"]
    assert figures["score"] is None
    assert -1 <= figures["flow"]["dynamics"]["value"] <= 1
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "weights").symlink_to(stage1_run / "weights")
    assert measured(bare, data, tmp_path / "out")["probes"] == {}
    assert "python -m autoencoder.cache" in capsys.readouterr().err


def test_mistakes_are_one_line(stage1_run, builtin_set, tmp_path, capsys):
    places = ["--run", str(stage1_run), "--data", str(builtin_set), "--out", str(tmp_path)]
    assert decoupling.main([*places, "--partners", "0"]) == 2
    assert capsys.readouterr().err.startswith("error: --partners")


class Oracle:
    """Twins that know the truth: the built-in set's own camera films the donors' factors.

    `case` says what follows whom: `perfect` twins; `sprite in dynamics` leaves the background alone to structure.
    """

    def __init__(self, case, test):
        self.case, self.test = case, test
        seeds = {clip.file: (clip.name, *clip.seeds(0)) for clip in plan_clips(45)}
        self.clips = [seeds[name] for name in test.index.names]

    def __call__(self, structure, dynamics):
        return torch.stack([self.film(*pair) for pair in zip(structure.tolist(), dynamics.tolist(), strict=True)])

    def film(self, structure, dynamics):
        (_, look, _), (motion, sprite_look, take) = self.clips[structure], self.clips[dynamics]
        if self.case == "perfect":
            frames = motion_frames(motion, look, take)
        else:
            design, sprite = (design_look(np.random.default_rng(seed)) for seed in (look, sprite_look))
            ground = {name: getattr(design, name) for name in ("dark", "ground", "clouds", "bands")}
            frames = film(replace(sprite, **ground), plan_take(motion, take))
        indices, _, _ = choose_window(self.test.index.videos[dynamics], self.test.frames, self.test.fps, None)
        return fit(torch.from_numpy(frames[indices]), self.test.size).movedim(-1, 0)


class Known:
    """Twins that hold nothing of one latent: the donor's own clip, or any clip."""

    def __init__(self, case, clips):
        self.case, self.clips = case, clips

    def __call__(self, structure, dynamics):
        anything = torch.randperm(len(self.clips), generator=torch.Generator().manual_seed(1))
        places = {"all in structure": structure, "all in dynamics": dynamics}
        return self.clips[places.get(self.case, anything[(structure + 3 * dynamics) % len(anything)])]


@pytest.mark.full
def test_filmed_twins_have_their_scores_under_trained_judges(tmp_path, processes):
    """Real clips, real judges, known truth."""
    write_dataset(tmp_path / "data", 45, 0)
    indices = (open_index(tmp_path / "data", split) for split in ("train", "test"))
    train, test = (ClipDataset(index, 16, 8.0, (48, 48), 0, train=False, in_memory=True) for index in indices)
    clips, steps = all_videos(test), TrainingConfig().steps
    factors = factors_of(read_factors(tmp_path / "data"))
    judges = {factor: train_judge(factor, train, test, tmp_path, steps) for factor in factors}
    labels, pairs = {factor.name: factor.labels(test) for factor in factors}, draw_pairs(len(clips), 1)
    found = {}
    for case in ("perfect", "sprite in dynamics", "all in structure", "all in dynamics", "random"):
        twins = Oracle(case, test) if case in ("perfect", "sprite in dynamics") else Known(case, clips)
        found[case] = decoupling.measure_swaps(twins, clips, labels, judges, pairs)
        print(case, json.dumps(found[case]))
    assert found["perfect"]["score"]["value"] > 0.9
    for case in ("all in structure", "all in dynamics", "random"):
        assert abs(found[case]["score"]["value"]) < 0.1
    mixed = {name: each["score"]["value"] for name, each in found["sprite in dynamics"]["factors"].items()}
    assert mixed["motion"] > 0.8
    assert mixed["background"] > 0.7
    assert mixed["shape"] < -0.7
    assert mixed["sprite colour"] < -0.7
