"""However a run ends, the next one continues as if nothing had happened: kills, signals, bad numbers, full disks."""

import json
import os
import random
import shutil
import signal
import subprocess
import time

import psutil
import pytest
import torch
from safetensors.torch import load_file

from autoencoder import train as stage1
from autoencoder.losses.objective import Objective
from autoencoder.stage1.config import Stage1Config
from autoencoder.train import main, train
from runtime.config import load
from runtime.errors import Preempted, UserError
from runtime.training import checkpoint

GAN = ["--loss.adversarial", "0.05", "--loss.disc_start", "2", "--model.height", "32", "--model.width", "32"]
THREADS = {"OMP_NUM_THREADS": str(torch.get_num_threads())}  # of every process alike: they decide the last bits

# Runs stage one in a process that kills itself on the n-th call of one of checkpoint's functions.
KILLED = """
import os, signal, sys
from runtime.training import checkpoint
point, fatal = sys.argv[1], int(sys.argv[2])
original, calls = getattr(checkpoint, point), []
def counted(*args, **kwargs):
    calls.append(point)
    if len(calls) == fatal:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*args, **kwargs)
setattr(checkpoint, point, counted)
from autoencoder.train import main
sys.exit(main(sys.argv[3:]))
"""

# On rank 1 the loss of the second step is not a number, and the fourth step raises.
UNEVEN = """
import os, sys
from autoencoder.losses.objective import Objective
original = Objective.autoencoder_loss
def uneven(self, video, reconstruction, posterior, log_scale, step):
    carrier, terms = original(self, video, reconstruction, posterior, log_scale, step)
    if os.environ["RANK"] == "1" and step == 3:
        raise RuntimeError("out of luck")
    return carrier * (float("nan") if os.environ["RANK"] == "1" and step == 1 else 1), terms
Objective.autoencoder_loss = uneven
from autoencoder.train import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def arguments(builtin_set, configs, tmp_path):
    def make(name, *overrides):
        places = ["--config", str(configs / "stage1.yaml"), "--data.root", str(builtin_set)]
        return [*places, "--run", str(tmp_path / name), *overrides]

    return make


@pytest.fixture
def configure(arguments):
    def make(name, *overrides):
        _, file, *rest = arguments(name, *overrides)
        return load(Stage1Config, file, rest)

    return make


def weights(run, kind="raw"):
    return load_file(run / "weights" / kind / "diffusion_pytorch_model.safetensors")


def assert_same_end(run, whole):
    """The same weights, averaged and raw, and the same logged numbers."""
    for kind in ("raw", "ema"):
        ours, theirs = weights(run, kind), weights(whole, kind)
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert logged(run) == logged(whole)


def numbers(run):
    """What a run has logged, a line each step; nothing before its first."""
    return (run / "metrics.jsonl").read_text() if (run / "metrics.jsonl").exists() else ""


def logged(run):
    lines = [json.loads(line) for line in numbers(run).splitlines()]
    return [{name: value for name, value in line.items() if not name.startswith("speed/")} for line in lines]


def wait_for_steps(run, count, process):
    while numbers(run).count("\n") < count:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("point", "call", "left_at"),
    [
        pytest.param("write_manifest", 2, 3, marks=pytest.mark.full),  # the shares are on disk, their checksums are not
        ("put_in_place", 2, 3),  # all is there but the name
        # `latest` names the new one, the old one still stands
        pytest.param("remove_older", 2, 6, marks=pytest.mark.full),
    ],
)
def test_a_kill_inside_a_save_loses_nothing(processes, arguments, configure, start, tmp_path, point, call, left_at):
    train(configure("whole", *GAN))
    killed = start("-c", KILLED, point, str(call), *arguments("run", *GAN), env=THREADS)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    newest = checkpoint.newest_complete(tmp_path / "run" / "checkpoints")
    assert newest.name == f"step_{left_at:08}"
    train(configure("run", *GAN))
    assert_same_end(tmp_path / "run", tmp_path / "whole")


@pytest.mark.full
def test_twenty_kills_at_random_moments_lose_nothing(processes, arguments, configure, start, tmp_path):
    """Thirty steps over several epochs, saved after every second one, so that many of the kills fall into a save.

    Each life continues what the one before left, until the run is at its end; then another begins.
    """
    settings = [*GAN, "--loop.steps", "30", "--loop.save_every", "2"]
    train(configure("whole", *settings))
    run, draw, saving, kills, ends = tmp_path / "run", random.Random(0), 0, 0, 0
    while kills < 20:
        before = numbers(run)
        goal = newest_step(run) + draw.randrange(1, 12)
        process = start("-m", "autoencoder.train", *arguments("run", *settings), env=THREADS)
        while process.poll() is None and (numbers(run) == before or numbers(run).count("\n") < goal):
            time.sleep(0.02)
        time.sleep(draw.random() * 0.3)
        process.kill()
        said = process.communicate()[1]
        if process.returncode == -signal.SIGKILL:
            kills += 1
            saving += bool(list(run.glob("checkpoints/.*.partial")))
        else:
            assert process.returncode == 0, said
            assert_same_end(run, tmp_path / "whole")
            shutil.rmtree(run)
            ends += 1
    print(f"{saving} of {kills} kills fell into a save; {ends} runs had come to their end")
    train(configure("run", *settings))
    assert_same_end(run, tmp_path / "whole")


def newest_step(run):
    newest = checkpoint.newest_complete(run / "checkpoints")
    return step_of(newest) if newest else 0


def step_of(place):
    return int(place.name.removeprefix("step_"))


def test_a_signal_to_one_of_two_processes_stops_both_at_one_step(arguments, start, tmp_path):
    settings = ["--loop.steps", "3000", "--loop.save_every", "0"]
    launcher = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "--")
    process = start(*launcher, "autoencoder.train", *arguments("run", *settings))
    wait_for_steps(tmp_path / "run", 3, process)
    ranks = [child for child in psutil.Process(process.pid).children() if "autoencoder.train" in child.cmdline()]
    assert len(ranks) == 2
    ranks[1].send_signal(signal.SIGUSR1)
    _, said = process.communicate(timeout=30)
    assert process.returncode != 0
    (line,) = [line for line in said.splitlines() if line.startswith("stopped by SIGUSR1 at step")]
    (place,) = (tmp_path / "run" / "checkpoints").glob("step_*")
    assert f"step {step_of(place)} of 3000" in line
    assert checkpoint.find_damage(place) is None


@pytest.mark.full
def test_a_signal_to_every_process_of_a_run_loses_nothing(arguments, processes, configure, start, tmp_path, capsys):
    """Also to the workers that decode for it: it needs their batches until it has saved."""
    settings = ["--data.in_memory", "false", "--data.workers", "2", "--data.prefetch", "1", "--loop.save_every", "0"]
    process = start("-m", "autoencoder.train", *arguments("run", *settings, "--loop.steps", "3000"), env=THREADS)
    wait_for_steps(tmp_path / "run", 3, process)
    family = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, said
    assert "stopped by SIGTERM at step" in said
    assert not psutil.wait_procs(family, timeout=10)[1]
    saved = newest_step(tmp_path / "run")
    train(configure("run", *settings, "--loop.steps", str(saved + 2)))
    assert f"continuing from step {saved} of {saved + 2}" in capsys.readouterr().out
    assert {line["step"] for line in logged(tmp_path / "run")} == set(range(1, saved + 3))


@pytest.mark.parametrize("moment", [pytest.param("training", marks=pytest.mark.full), "validation"])
def test_a_run_that_is_asked_to_stop_continues_exactly(processes, configure, tmp_path, monkeypatch, moment):
    settings = ["--loop.validate_every", "2", "--loop.save_every", "0"]
    train(configure("whole", *settings))
    name = {"training": "training_step", "validation": "reconstruct"}[moment]
    original = getattr(stage1, name)

    def interrupted(*args):
        signal.raise_signal(signal.SIGTERM)
        return original(*args)

    monkeypatch.setattr(stage1, name, interrupted)
    with pytest.raises(Preempted, match=r"stopped by SIGTERM at step \d of 6"):
        train(configure("run", *settings))
    monkeypatch.undo()
    (saved,) = (tmp_path / "run" / "checkpoints").glob("step_*")
    assert saved.name == {"training": "step_00000001", "validation": "step_00000002"}[moment]
    train(configure("run", *settings))
    ours, theirs = weights(tmp_path / "run"), weights(tmp_path / "whole")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_second_signal_ends_at_once(start):
    code = """
import signal, time
from runtime.preemption import StopRequest
with StopRequest() as stop:
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)  # the launcher's copy
    assert stop.agreed() == signal.SIGTERM
    time.sleep(0.6)
    signal.raise_signal(signal.SIGTERM)
"""
    process = start("-c", code)
    assert process.communicate() == ("", "")
    assert process.returncode == -signal.SIGTERM


def poison(monkeypatch, steps):
    """The reconstruction loss is not a number at these steps."""
    original, calls = Objective.nll, []

    def nll(self, *args):
        calls.append(None)
        return original(self, *args) * (float("nan") if len(calls) in steps else 1)

    monkeypatch.setattr(Objective, "nll", nll)


@pytest.mark.parametrize(
    "stage", [pytest.param(0, marks=pytest.mark.full), 1, pytest.param(2, marks=pytest.mark.full), 3]
)
def test_a_step_that_is_not_finite_is_left_out(processes, configure, tmp_path, monkeypatch, capsys, stage):
    poison(monkeypatch, {3})
    train(configure("run", *GAN, "--engine.zero_stage", str(stage)))
    before, bad, after = (line for line in logged(tmp_path / "run") if line["step"] in (2, 3, 4))
    assert [line["skipped_steps"] for line in (before, bad, after)] == [0, 1, 1]
    assert bad["loss"] != bad["loss"]
    assert after["loss"] == after["loss"]
    assert all(value.isfinite().all() for kind in ("raw", "ema") for value in weights(tmp_path / "run", kind).values())
    said = [line for line in capsys.readouterr().out.splitlines() if "was not finite" in line]
    assert len(said) == 1
    assert "at step 3 on" in said[0]
    assert said[0].count(".avi") == 4
    assert json.loads((tmp_path / "run" / "training.json").read_text())["skipped_steps"] == 1


def test_too_many_such_steps_end_the_run_with_a_checkpoint(processes, configure, tmp_path, monkeypatch):
    original = stage1.training_step

    def spoiled(config, session, objective, batches):
        if session.step == 2:
            with torch.no_grad():
                session.engines["autoencoder"].module.autoencoder.decoder.unpatchify.linear.bias.fill_(float("inf"))
        return original(config, session, objective, batches)

    monkeypatch.setattr(stage1, "training_step", spoiled)
    with pytest.raises(UserError) as error:
        train(configure("run", "--loop.patience", "2", "--engine.zero_stage", "0"))
    for part in ("at step 4", "the last of 2 such steps", ".avi", "autoencoder.decoder.unpatchify.linear.bias"):
        assert part in str(error.value)
    assert (tmp_path / "run" / "checkpoints" / "step_00000004").is_dir()
    assert not (tmp_path / "run" / "checkpoints" / "best").exists()


def test_what_goes_wrong_on_one_rank_concerns_all(arguments, start_ranks, tmp_path):
    """A loss that is no number on one rank is left out on both; an error on one ends both and is named."""
    ranks = start_ranks("-c", UNEVEN, *arguments("run"), ranks=2)
    (out, _), (_, said) = (process.communicate(timeout=120) for process in ranks)
    assert all(process.returncode != 0 for process in ranks)
    assert "stage1: rank 1 failed at step 3" in said
    assert "out of luck" in said
    assert "not finite at step 2 on" in out
    assert [line["skipped_steps"] for line in logged(tmp_path / "run")] == [0, 1, 1]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 3 MB."""
    place = tmp_path / "small"
    place.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", place], check=False, capture_output=True
    ).returncode:
        pytest.skip("mounting a small file system needs root")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk_is_one_line_and_leaves_the_last_checkpoint(processes, configure, small_disk, tmp_path):
    settings = ["--loop.save_every", "1", "--loop.keep", "20"]
    config = configure("run", *settings)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoints").symlink_to(small_disk)
    with pytest.raises(UserError, match=r"no checkpoint could be written.*make room"):
        train(config)
    newest = checkpoint.newest_complete(small_disk)
    assert newest is not None
    assert not list(small_disk.glob(".*.partial"))
    older = sorted(small_disk.glob("step_*"))[:-1]
    for place in older:
        shutil.rmtree(place)
    train(configure("run", "--loop.save_every", "1", "--loop.keep", "1"))
    train(configure("whole", *settings))
    assert_same_end(tmp_path / "run", tmp_path / "whole")


def test_a_disk_that_cannot_hold_two_checkpoints_is_refused(processes, configure, monkeypatch, capsys):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100_000))
    with pytest.raises(UserError, match="two checkpoints of"):
        train(configure("run"))


def test_bad_settings_of_a_loop_are_one_line(arguments, capsys):
    assert main(arguments("run", "--loop.keep", "0")) == 2
    assert "--loop.keep must be at least 1" in capsys.readouterr().err
