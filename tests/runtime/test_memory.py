"""What a process has held at most: against what it takes, and whoever starts it."""

import subprocess
import sys

import torch

from runtime.memory import peak_memory
from tests.conftest import clean_environment

SAYS = "import torch; from runtime.memory import peak_memory; print(peak_memory(torch.device('cpu')))"
STARTS = "import subprocess, sys; held = b'1' * 2 * 10**9; subprocess.run([sys.executable, '-c', {!r}], check=True)"


def test_a_process_does_not_answer_for_the_one_that_started_it():
    done = subprocess.run(
        [sys.executable, "-c", STARTS.format(SAYS)], env=clean_environment(), check=True, capture_output=True, text=True
    )
    assert 1e8 < int(done.stdout) < 1e9


def test_a_peak_stays_when_its_memory_has_gone():
    before = peak_memory(torch.device("cpu"))
    held = torch.ones(before // 4)  # as much again: more than is free of what has been held
    del held
    assert peak_memory(torch.device("cpu")) > 1.5 * before
