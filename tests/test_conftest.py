"""A machine's GPUs change nothing in the tests."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

CONFTEST = Path(__file__).with_name("conftest.py").read_text()

# What a test sees of the GPUs that the environment names, and what a process does that it starts.
PROBE = """
import os, subprocess, sys, pytest
def seen():
    code = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return [os.environ["CUDA_VISIBLE_DEVICES"], child.stdout.strip()]
def test_any():
    assert seen() == ["", ""]
@pytest.mark.gpu
def test_of_a_gpu():
    assert seen() == ["0,1", "0,1"]
"""


def test_no_test_sees_a_gpu():
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
    assert not torch.cuda.is_available()


@pytest.mark.parametrize(
    ("chosen", "outcome"), [([], "1 passed, 1 skipped"), (["-m", "gpu"], "1 passed, 1 deselected")]
)
def test_gpus_are_shown_to_the_tests_that_need_one_alone(tmp_path, chosen, outcome):
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_probe.py").write_text(PROBE)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = gpu\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *chosen],
        cwd=tmp_path,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "0,1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome in done.stdout
