"""Averages of other widths: snapshots of a run that is resumed or divided, and the command that joins them."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from generator import average, sample
from generator.pipeline import load_pipeline
from generator.stage2 import Stage2Config
from generator.train import dry_run, train
from runtime.config import load
from runtime.errors import UserError

STEPS, EVERY, WIDTHS = 60, 6, "[0.05,0.1,0.08]"
TRANSFORMER = "transformer/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def places(stage1_run):
    return ["--cache", str(stage1_run / "latents/train"), "--autoencoder", str(stage1_run / "weights/ema")]


@pytest.fixture(scope="module")
def configure(places, configs, tmp_path_factory):
    root = tmp_path_factory.mktemp("averages")

    def make(name, *overrides):
        settings = [f"--loop.steps={STEPS}", f"--loop.snapshot_every={EVERY}", f"--loop.ema_widths={WIDTHS}"]
        settings += ["--run", str(root / name), *places, "--loop.save_every=20", *overrides]
        return load(Stage2Config, configs / "stage2.yaml", settings)

    return make


@pytest.fixture(scope="module")
def averaged_run(processes, configure):
    """A run that kept three widths, at a rate that does not fall; the third's snapshots lie apart, as if unknown."""
    config = configure("run", "--optimizer.final_lr=1")
    train(config)
    for path in Path(config.run).glob("averages/*_width_0.08.*"):
        path.rename(Path(config.run) / path.name)
    return Path(config.run)


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def distance(found, expected):
    squares = [(found[name].double() - expected[name].double()).square().sum() for name in expected]
    return (sum(squares) / sum(each.double().square().sum() for each in expected.values())).sqrt().item()


def test_a_width_made_of_snapshots_is_the_one_that_was_tracked(averaged_run, tmp_path, capsys):
    """At the end and half way, closer than float16 tells, and closer than the widths that were kept."""
    for step, snapshots in ((STEPS, 20), (30, 10)):
        out = tmp_path / str(step)
        assert average.main([str(averaged_run), "--width", "0.08", "--step", str(step), "--out", str(out)]) == 0
        assert f"{out}: width 0.08 at step {step} of {snapshots} snapshots" in capsys.readouterr().out
        tracked, *others = (
            load_file(averaged_run / folder / f"step_{step:08}_width_{width}.safetensors")
            for folder, width in ((".", 0.08), ("averages", 0.05), ("averages", 0.1))
        )
        found = distance(load_file(out / TRANSFORMER), tracked)
        assert found < 2**-11
        assert all(distance(each, tracked) > 10 * found for each in others)


def test_weights_ema_is_the_first_width_and_all_else_of_the_pipeline_stays(averaged_run, tmp_path):
    first, made = averaged_run / "weights/ema", tmp_path / "made"
    snapshot = load_file(averaged_run / "averages" / f"step_{STEPS:08}_width_0.05.safetensors")
    weights = load_file(first / TRANSFORMER)
    assert all(torch.equal(weights[name].half(), snapshot[name]) for name in snapshot)
    assert average.main([str(averaged_run), "--width", "0.05", "--out", str(made)]) == 0
    assert distance(load_file(made / TRANSFORMER), weights) < 2**-11
    before, after = load_pipeline(first), load_pipeline(made)
    assert before.config.items() >= {k: v for k, v in after.config.items() if not k.startswith("_")}.items()
    assert all(map(torch.equal, before.transformer.statistics, after.transformer.statistics))
    out = tmp_path / "samples"
    assert sample.main(["--weights", str(made), "--num", "2", "--steps", "2", "--out", str(out)]) == 0
    assert (out / "grid.png").is_file()


def test_what_there_is_and_what_can_be_made_is_listed(averaged_run, capsys):
    assert average.main([str(averaged_run)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "20 snapshots, of widths 0.05, 0.1"
    assert len(lines) == 1 + STEPS // EVERY
    assert lines[-1].startswith(f"step {STEPS}: widths 0.0")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--width", "0.005"], "width 0.005 at step 60 is out of reach: the nearest sum of snapshots misses"),
        (["--width", "0.5"], "an average's width is a part of the training between 0 and 0.289, not 0.5"),
        (["--width", "0.08", "--step", "31"], "there is no snapshot of step 31; there are some of 6, 12, "),
    ],
)
def test_what_cannot_be_made_is_one_line(averaged_run, tmp_path, capsys, arguments, said):
    assert average.main([str(averaged_run), *arguments, "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith(f"error: {said}")
    assert not (tmp_path / "out").exists()


def test_a_run_without_snapshots_and_a_place_that_is_taken_are_one_line(averaged_run, stage2_run, tmp_path, capsys):
    assert average.main([str(stage2_run), "--width", "0.08", "--out", str(tmp_path / "out")]) == 2
    assert "averages holds no snapshots; train with --loop.ema_widths" in capsys.readouterr().err
    assert average.main([str(averaged_run), "--width", "0.08", "--out", str(averaged_run)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert average.main([str(averaged_run), "--width", "0.08"]) == 2
    assert "--width and --out together" in capsys.readouterr().err


def test_snapshots_of_a_resumed_run_are_those_of_one_that_never_stopped(processes, configure):
    """Back to a checkpoint before its last snapshots, of which one is torn, one lost, and one of another run."""
    config = configure("resumed", "--loop.steps=12", "--loop.snapshot_every=4", "--loop.save_every=5")
    train(config)
    run = Path(config.run)
    whole, weights = contents(run / "averages"), (run / "weights/ema" / TRANSFORMER).read_bytes()
    assert len(whole) == 3 * 3
    shutil.rmtree(run / "checkpoints/step_00000012")
    (run / "averages/step_00000012_width_0.05.safetensors").write_bytes(b"torn")
    (run / "averages/step_00000012_width_0.1.safetensors").unlink()
    (run / "averages/step_00000099_width_0.1.safetensors").write_bytes(b"of a run that was longer")
    train(config)
    assert contents(run / "averages") == whole
    assert (run / "weights/ema" / TRANSFORMER).read_bytes() == weights


@pytest.mark.full
def test_two_processes_keep_the_whole_of_their_averages(places, configs, launch, tmp_path):
    """Their noise is another than that of one process; what they gather is what they write to `weights/ema`."""
    settings = ["--config", str(configs / "stage2.yaml"), "--run", str(tmp_path), *places, "--loop.steps=4"]
    done = launch("generator.train", *settings, f"--loop.ema_widths={WIDTHS}", ranks=2)
    assert done.returncode == 0, done.stderr
    weights = load_file(tmp_path / "weights/ema" / TRANSFORMER)
    snapshot = load_file(tmp_path / "averages/step_00000004_width_0.05.safetensors")
    assert all(torch.equal(weights[name].half(), snapshot[name]) for name in snapshot)
    assert len(list((tmp_path / "averages").iterdir())) == 3


def test_the_plan_says_what_snapshots_take(configure):
    said = dry_run(configure("plan"))
    assert "for 30 snapshots of averages" in said


def test_widths_cannot_change_on_the_way(averaged_run, configure):
    with pytest.raises(UserError, match=r"begun with --loop.ema_widths \[0.05,0.1,0.08\]"):
        train(configure("run", "--loop.ema_widths=[0.05]"))
