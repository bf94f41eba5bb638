"""Whatever there is of a run is opened, and what is missing is said in one line."""

import shutil

import numpy as np
import pytest
import torch

from app.examples import find_examples
from app.weights import open_weights
from autoencoder.model import VidTwin
from runtime.errors import UserError
from runtime.weights import load_model, save_model, weights_hash

CPU = torch.device("cpu")


def test_a_run_its_parts_and_a_pipeline_are_opened(app_run, stage1_run, tmp_path):
    own = weights_hash(load_model(VidTwin, app_run / "weights/ema"))
    whole = open_weights(app_run, CPU)
    assert whole.autoencoder is whole.pipeline.autoencoder  # one copy
    alone = open_weights(stage1_run, CPU)
    pipeline = open_weights(app_run / "generator/weights/ema", CPU)
    autoencoder = open_weights(app_run / "weights/ema", CPU)
    second = open_weights(app_run / "generator", CPU)
    opened = (whole, alone, pipeline, autoencoder, second)
    for found in opened:
        assert weights_hash(found.autoencoder) == own
    assert [each.pipeline is not None for each in opened] == [True, False, True, False, True]
    assert [each.run for each in opened] == [app_run, stage1_run, None, None, None]
    (tmp_path / "generator/weights").mkdir(parents=True)
    shutil.copytree(app_run / "generator/weights/ema", tmp_path / "generator/weights/ema")
    assert open_weights(tmp_path, CPU).pipeline is not None


def test_an_autoencoder_that_was_trained_on_is_not_taken_for_the_generators(app_run, tmp_path):
    (tmp_path / "generator").symlink_to(app_run / "generator")
    other = load_model(VidTwin, app_run / "weights/ema")
    next(other.parameters()).data += 1
    save_model(other, tmp_path / "weights/ema")
    found = open_weights(tmp_path, CPU)
    assert weights_hash(found.autoencoder) == weights_hash(other)
    assert weights_hash(found.pipeline.autoencoder) != weights_hash(other)


def test_a_folder_without_weights_is_one_line(tmp_path):
    with pytest.raises(UserError, match="holds no autoencoder"):
        open_weights(tmp_path, CPU)


def test_examples_are_test_videos_or_else_filmed(models, tmp_path, monkeypatch, builtin_set):
    monkeypatch.chdir(tmp_path)
    found = find_examples(models, tmp_path)
    listed = (builtin_set / "ucfTrainTestlist/testlist01.txt").read_text().split()
    assert len(found) == 8
    paths = {example.info.path.relative_to(builtin_set / "UCF-101").as_posix() for example in found}
    assert paths <= set(listed)
    assert len({example.caption for example in found}) == 8
    assert [example.factors.motion for example in found] == [example.caption for example in found]
    without = open_weights(models.run / "generator/weights/ema", CPU)
    filmed = find_examples(without, tmp_path)
    assert all(example.info.path.parent == tmp_path for example in filmed)
    assert {example.info.frames for example in filmed} == {50}
    for example in filmed:
        frame, (x, y) = np.asarray(example.picture), (example.factors.pose[axis][25] for axis in "xy")
        middle = frame[round(60 + 60 * y), round(80 + 60 * x)]
        inks = example.factors.body
        assert min(abs(middle - np.array(ink)).max() for ink in inks) < 60, example.caption
