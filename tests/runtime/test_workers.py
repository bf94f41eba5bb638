"""Workers outlive the signals that ask a run to stop, and never the run."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from runtime.preemption import SIGNALS

ROOT = Path(__file__).parents[2]

# Takes batches for as long as it is told to; nothing lies ready when a signal comes.
RUN = """
import os, sys, torch
from torch.utils.data import DataLoader
from runtime.preemption import StopRequest
from runtime.workers import DeafWorkers

def say(words):  # in one write: others write there, too
    os.write(1, f"{words}\\n".encode())

class Numbers(torch.utils.data.Dataset):
    def __len__(self):
        return 10**6
    def __getitem__(self, i):
        if i == 9:  # stuck, where a signal to Python does nothing
            import ctypes
            say("stuck")
            ctypes.CDLL(None).sleep(1000)
        return i

if __name__ == "__main__":
    with StopRequest() as stop:
        batches = iter(DataLoader(Numbers(), num_workers=2, prefetch_factor=1, persistent_workers=True,
                                  timeout=60, multiprocessing_context=DeafWorkers()))
        say(int(next(batches)))
        for word in sys.stdin:
            say(f"{int(next(batches))} stopping" if stop.number else int(next(batches)))
"""


@pytest.fixture
def run(tmp_path):
    """A run with a process group of its own, whose members are gone in the end."""
    (tmp_path / "run.py").write_text(RUN)
    process = subprocess.Popen(
        [sys.executable, tmp_path / "run.py"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout.readline() == "0\n"
    process.workers = psutil.Process(process.pid).children(recursive=True)
    assert len(process.workers) == 4  # two, the server that forks them, and the tracker of what they share
    yield process
    process.kill()
    left = psutil.wait_procs(process.workers, timeout=30)[1]
    for worker in left:
        worker.kill()
    process.communicate()
    assert not left


def take(run):
    run.stdin.write("\n")
    run.stdin.flush()
    return run.stdout.readline()


def test_a_signal_to_all_of_a_runs_processes_leaves_it_its_workers(run):
    """And they end when it is killed, see the fixture."""
    for number in SIGNALS:
        os.killpg(run.pid, number)
    assert [take(run) for _ in range(6)] == [f"{batch} stopping\n" for batch in range(1, 7)]


def test_a_worker_that_is_stuck_does_not_hold_up_the_end(run):
    while take(run) != "stuck\n":
        pass
    _, said = run.communicate(timeout=30)  # five seconds are the loader's patience
    assert (run.returncode, said) == (0, "")
