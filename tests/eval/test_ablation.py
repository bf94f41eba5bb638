"""An ablation in miniature: stopped at any point it goes on, and ends with what it would have ended with."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace

import pytest
import torch
import yaml
from PIL import Image

from data.latents import TwinLatents
from eval import ablation
from eval.ablations import cell as cells
from eval.ablations.variants import read_variants
from generator import train as training
from generator.config import DiTConfig
from generator.diffusion import diffusion_loss, make_objective
from generator.dit import DiT
from generator.stage2 import Stage2Config
from runtime.config import load
from runtime.random import generator
from tests.conftest import clean_environment
from tests.small_pipeline import DIFFUSERS_ON_NUMPY_2

pytestmark = pytest.mark.filterwarnings(DIFFUSERS_ON_NUMPY_2)

SHIPPED = ablation.LIST
MODERN = SHIPPED.parents[1] / "stage2/modern.yaml"
LATENTS = ((8, 8, 4, 4), (8, 16, 8))  # of configs/stage1/demo.yaml
STEPS = 2
VARIANTS = {"rotary": {"model.positions": "rotary"}, "x0": {"diffusion.objective": "x0"}}


@pytest.fixture(scope="module")
def listed(configs, tmp_path_factory):
    """Two variants and one of both, on a base of two steps with a checkpoint after each."""
    folder = tmp_path_factory.mktemp("list")
    base = yaml.safe_load((configs / "stage2.yaml").read_text())
    base["loop"] |= {"steps": STEPS, "save_every": 1}
    (folder / "base.yaml").write_text(yaml.safe_dump(base))
    content = {"base": "base.yaml", "alone": VARIANTS, "together": [["rotary"], ["x0"]]}
    (folder / "list.yaml").write_text(yaml.safe_dump(content))
    return folder / "list.yaml"


@pytest.fixture(scope="module")
def run(stage1_run, tmp_path_factory):
    run = tmp_path_factory.mktemp("ablated")
    for name in ("weights", "latents"):
        (run / name).symlink_to(stage1_run / name)
    return run


@pytest.fixture
def arguments(listed, run, builtin_set):
    def of(out, *options):
        places = ["--list", listed, "--run", run, "--data", builtin_set, "--out", out]
        return list(map(str, [*places, "--num", 20, "--classifier_steps", 2, *options]))

    return of


@pytest.fixture
def ablate(arguments):
    return lambda *it: ablation.main(arguments(*it))


def results(out):
    """Names and figures without what depends on the clock."""
    variants = json.loads((out / "ablation.json").read_text())["variants"]
    return {v["name"]: [{k: x for k, x in each.items() if k != "step_ms"} for each in v["seeds"]] for v in variants}


def stop_before(monkeypatch, count):
    """Have the training step that would be number `count` end all; the steps taken, as cell and step."""
    taken, step = [], training.training_step

    def counted(config, session, *rest):
        if len(taken) == count:
            raise KeyboardInterrupt
        taken.append((config.model.positions, config.diffusion.objective, config.loop.seed, session.step))
        return step(config, session, *rest)

    monkeypatch.setattr(training, "training_step", counted)
    return taken


@pytest.mark.full
def test_stopped_in_the_middle_of_a_cell_it_goes_on(ablate, tmp_path, monkeypatch, capsys):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    with monkeypatch.context() as patch:
        every_step = stop_before(patch, -1)
        assert ablate(whole) == 0
    expected = results(whole)
    assert list(expected) == ["base", "rotary", "x0", "+ x0"]
    assert all([each["seed"] for each in seeds] == [0, 1] for seeds in expected.values())
    assert len(every_step) == len(set(every_step)) == 4 * 2 * STEPS

    steps = []
    for count in (5, 3, -1):  # in the third cell, in the fourth
        with monkeypatch.context() as patch:
            taken = stop_before(patch, count)
            assert ablate(stopped) == (130 if count > 0 else 0)
        steps += taken
    assert steps == every_step
    assert results(stopped) == expected
    assert "continuing from step 1 of 2" in capsys.readouterr().out

    with monkeypatch.context() as patch:
        assert stop_before(patch, 0) == []
        assert ablate(stopped) == 0
    table = (whole / "ablation.md").read_text()
    assert "| rotary | `--model.positions rotary` |" in table
    assert "| + x0 | added to *rotary* |" in table
    with Image.open(whole / "ablation.png") as picture:
        assert min(picture.size) > 200
    assert not list(whole.rglob("checkpoints"))


@pytest.mark.full
def test_killed_while_it_trains_it_goes_on(arguments, ablate, launch, tmp_path):
    """Once the second cell has saved its first step."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert ablate(whole) == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "eval.ablation", *arguments(killed)], cwd=SHIPPED.parents[2], env=clean_environment()
    )
    while process.poll() is None and not list(killed.glob("cells/rotary-*/checkpoints/step_*")):
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    done = launch("eval.ablation", *arguments(killed))
    assert done.returncode == 0, done.stderr
    assert "[2/8] rotary, seed 0" in done.stdout
    found, expected = results(killed), results(whole)
    assert found.keys() == expected.keys()
    for name, seeds in found.items():
        for each, other in zip(seeds, expected[name], strict=True):
            assert each == pytest.approx(other, rel=1e-3)  # with other numbers of threads


@pytest.mark.full
def test_figures_of_other_settings_are_not_taken_for_these(ablate, tmp_path, monkeypatch):
    assert ablate(tmp_path, "--seeds", "0") == 0
    for options in (["--num", "21"], ["--classifier_steps", "3"], ["--seeds", "2"]):
        with monkeypatch.context() as patch:
            patch.setattr(cells, "train", lambda config: (_ for _ in ()).throw(KeyboardInterrupt))
            assert ablate(tmp_path, "--seeds", "0", *options) == 130


def test_every_shipped_variant_is_the_base_but_for_its_changes_and_takes_a_step():
    base, *variants = read_variants(SHIPPED)
    assert len(variants) >= 14
    assert len({repr(variant.config()) for variant in variants}) == len(variants)
    for variant in variants:
        config, fields = variant.config(), asdict(base.config())
        for key, value in variant.changes.items():
            section, name = key.split(".")
            assert fields[section][name] != (tuple(value) if isinstance(value, list) else value)
            fields[section][name] = tuple(value) if isinstance(value, list) else value
        assert asdict(config) == fields
        take_step(config)


def take_step(config: Stage2Config) -> None:
    small = replace(config.model, width=16, depth=1, num_heads=2, class_width=8)
    shapes = {"structure_shape": LATENTS[0], "dynamics_shape": LATENTS[1], "num_classes": 3}
    model = DiT(**asdict(DiTConfig(**asdict(small), **shapes, times=config.diffusion.times)))
    latents, label = TwinLatents(*(torch.randn(2, *shape) for shape in LATENTS)), torch.arange(2)
    process = make_objective(config.diffusion)
    loss, _ = diffusion_loss(model, process, latents, label, model.null_label, generator("ablation"))
    loss.backward()
    assert loss.isfinite()


def test_the_last_row_has_every_ingredient_of_the_modern_recipe():
    last, modern = read_variants(SHIPPED)[-1].config(), load(Stage2Config, MODERN)
    for name in ("conditioning", "modulation", "norm", "qk_norm", "mlp", "positions"):
        assert getattr(last.model, name) == getattr(modern.model, name)
    for name in ("objective", "times", "direction_weight"):
        assert getattr(last.diffusion, name) == getattr(modern.diffusion, name)
    assert last.optimizer.betas == modern.optimizer.betas


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"alone": {}}, "is no list of variants"),
        ({"base": "none.yaml"}, "variant base: there is no configuration"),
        (
            {"base": "base.yaml", "alone": {"big": {"model.widht": 3}}},
            "variant big: unrecognized arguments: --model.widht",
        ),
        ({"base": "base.yaml", "alone": {"a": {}}, "together": [["a"], ["b"]]}, "together names b, which is not among"),
    ],
)
def test_a_mistake_in_the_list_is_one_line(content, said, listed, tmp_path, capsys):
    (tmp_path / "base.yaml").write_text((listed.parent / "base.yaml").read_text())
    (tmp_path / "list.yaml").write_text(yaml.safe_dump(content))
    assert ablation.main(["--list", str(tmp_path / "list.yaml"), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
