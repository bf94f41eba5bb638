"""The sweep measures what sampling and the classifier give one after the other, and measures no cell twice."""

import json

import pytest
from einops import rearrange
from PIL import Image
from safetensors.torch import load_file

from eval.classifier import accuracy, classifier_frechet, load_classifier
from eval.generation import sweep
from eval.report import all_videos, open_autoencoder, open_clips
from generator import sample
from tests.small_pipeline import DIFFUSERS_ON_NUMPY_2

pytestmark = pytest.mark.filterwarnings(DIFFUSERS_ON_NUMPY_2)


@pytest.fixture(scope="module")
def run(stage1_run, stage2_run, tmp_path_factory):
    """Both stages in one folder, as `make demo` leaves them."""
    run = tmp_path_factory.mktemp("swept")
    (run / "weights").symlink_to(stage1_run / "weights")
    (run / "generator").symlink_to(stage2_run)
    return run


def swept(run, data, *options):
    arguments = ["--run", run, "--data", data, "--num", 20, "--classifier_steps", 2, *options]
    assert sweep.main(list(map(str, arguments))) == 0
    return json.loads((run / "evaluation/sweep.json").read_text())


def test_a_sweep_measures_each_cell_once_and_as_by_hand(run, builtin_set, tmp_path, monkeypatch, capsys):
    cells = swept(run, builtin_set, "--steps", "2,3", "--guidance", "1,3")
    places = [(cell["scheduler"], cell["steps"], cell["guidance"]) for cell in cells]
    assert places == [(name, steps, scale) for name in ("heun", "dpm") for steps in (2, 3) for scale in (1, 3)]
    with Image.open(run / "evaluation/sweep.png") as picture:
        assert min(picture.size) > 200

    options = ["--scheduler", "dpm", "--steps", "3", "--guidance", "3", "--num", "20"]
    weights = run / "generator/weights/ema"
    assert sample.main(["--weights", str(weights), "--out", str(tmp_path), *options]) == 0
    samples, classifier = load_file(tmp_path / "samples.safetensors"), load_classifier(run / "evaluation/classifier")
    test = all_videos(open_clips(open_autoencoder(run), builtin_set, "test", run))
    videos = rearrange(samples["videos"], "n t h w c -> n c t h w")
    assert cells[-1]["accuracy"] == accuracy(classifier, videos, samples["labels"])
    assert cells[-1]["classifier_frechet"] == pytest.approx(classifier_frechet(classifier, test, videos))

    drawn, measure = [], sweep.measure
    monkeypatch.setattr(sweep, "measure", lambda *it: drawn.append(it[2]) or measure(*it))
    more = swept(run, builtin_set, "--steps", "2,4", "--guidance", "1", "--schedulers", "heun")
    assert [(cell.scheduler, cell.steps) for cell in drawn] == [("heun", 4)]
    assert more[:-1] == cells


def test_a_killed_sweep_keeps_its_cells(run, builtin_set, monkeypatch):
    arguments = ["--steps", "5,6,7", "--guidance", "2", "--schedulers", "euler"]
    measure = sweep.measure

    def killed(pipeline, judge, sampling, num):
        if sampling.steps == 6:
            raise KeyboardInterrupt
        return measure(pipeline, judge, sampling, num)

    monkeypatch.setattr(sweep, "measure", killed)
    places = ["--run", str(run), "--data", str(builtin_set), "--num", "20", "--classifier_steps", "2"]
    assert sweep.main([*places, *arguments]) == 130
    monkeypatch.setattr(sweep, "measure", lambda *it: {"accuracy": 0.5, "classifier_frechet": 1.0, "seconds": 0.0})
    cells = [cell for cell in swept(run, builtin_set, *arguments) if cell["scheduler"] == "euler"]
    assert [cell["accuracy"] == 0.5 and cell["seconds"] == 0 for cell in cells] == [False, True, True]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--schedulers", "ddim"), "the scheduler ddim does not sample flow predictions"),
        (("--steps", "0"), "0 sampling steps: choose from 1 to 1000"),
        (("--steps", "few"), "'few' are no comma-separated numbers of the kind int"),
        (("--num", "1"), "--num must be at least 2"),
    ],
)
def test_a_mistake_is_one_line(options, said, run, builtin_set, capsys):
    assert sweep.main(["--run", str(run), "--data", str(builtin_set), *options]) == 2
    assert capsys.readouterr().err.startswith(f"error: {said}")
