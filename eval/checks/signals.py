"""A run is stopped by a signal and goes on, its loader's workers included."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from eval.checks.behaviour import REFERENCE, trained
from eval.checks.check import CheckError, Found, Place
from eval.checks.small import HALF, command, stage1

POLL_SECONDS = 0.05
STOPPED = 128 + signal.SIGTERM


def stop(place: Place) -> Found:
    """SIGTERM to every process of a run, its loader's workers too, as Slurm sends it: it saves, and goes on later."""
    workers = ("--data.workers", "2", "--data.in_memory", "false")
    settings = (*REFERENCE, *workers, "--loop.save_every", "0")
    run = place.run("signal")
    process = started(stage1(place, "signal", *settings, "--loop.steps", "100000"))
    wait_for_steps(process, run / "metrics.jsonl")
    asked = time.monotonic()
    os.killpg(process.pid, signal.SIGTERM)
    code, seconds = process.wait(), time.monotonic() - asked
    if code != STOPPED:
        raise CheckError(f"after SIGTERM to its process group the run ended with code {code}, not {STOPPED}")
    saved = int(newest_checkpoint(run).name.removeprefix("step_"))
    command("autoencoder.train", *stage1(place, "signal", *settings, "--loop.steps", str(saved + 1)))
    trained(run)
    return Found(f"saved step {saved} within {seconds:.1f} s, and went on", {"step": saved, "seconds": seconds})


def started(arguments: list[str]) -> subprocess.Popen:
    """A run in a process group of its own, which can be sent a signal as a whole."""
    called = [sys.executable, "-m", "autoencoder.train", *arguments]
    return subprocess.Popen(called, stdout=sys.stderr, start_new_session=True)


def wait_for_steps(process: subprocess.Popen, metrics: Path) -> None:
    """Until the run has logged a few. Raises `CheckError` when it ends before."""
    while not (metrics.exists() and metrics.read_text().count("\n") >= HALF):
        if process.poll() is not None:
            raise CheckError(f"the run ended with code {process.returncode} before it was asked to stop")
        time.sleep(POLL_SECONDS)


def newest_checkpoint(run: Path) -> Path:
    places = sorted((run / "checkpoints").glob("step_*"))
    if not places:
        raise CheckError("it saved no checkpoint")
    return places[-1]
