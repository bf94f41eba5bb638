"""The acceptance run: checks as processes under limits, and all of them, small, on the CPU."""

import json
import os
import subprocess
import sys
import time

import psutil
import pytest

from eval.check import main, selected
from eval.checks.check import Check, Place, reason
from eval.checks.schedule import Schedule
from eval.checks.table import checks
from tests.conftest import clean_environment

PASSES = """
import json
from pathlib import Path
Path({result!r}).write_text(json.dumps({{"said": "well", "figures": {{"clips": 3}}}}))
"""
FAILS = "raise ValueError('the losses differ')"
# A process that would go on in a session of its own.
HANGS = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def rows(tmp_path):
    """The rows of checks that are named after what their process does, as they came."""
    place = Place(tmp_path, "cpu")
    code = {"passes": PASSES, "fails": FAILS, "hangs": HANGS}

    def run(*chosen: Check, deadline: float = 60, jobs: int = 2):
        def command(check: Check) -> list[str]:
            source = code[check.name.split("-")[0]].format(result=str(place.result(check.name)))
            return [sys.executable, "-c", source]

        schedule = Schedule(command, dict(os.environ), place, deadline, jobs, say=lambda line: None)
        return {row.name: row for row in schedule.rows(chosen)}

    return run


def test_a_check_passes_with_its_figures_or_fails_with_its_exception(rows):
    found = rows(
        Check("fails", "", "", 30),
        Check("passes", "", "", 30),
        Check("passes-later", "", "", 30, needs=("passes",)),
        Check("passes-never", "", "", 30, needs=("fails",)),
        Check("passes-nor-this", "", "", 30, needs=("passes-never",)),
    )
    assert found["passes"].verdict == found["passes-later"].verdict == "passed"
    assert (found["passes"].said, found["passes"].figures) == ("well", {"clips": 3})
    assert (found["fails"].verdict, found["fails"].said) == ("failed", "ValueError: the losses differ")
    assert (found["passes-never"].verdict, found["passes-never"].said) == ("not reached", "needs fails")
    assert found["passes-nor-this"].said == "needs passes-never"


def test_at_its_limit_a_check_is_ended_with_all_that_it_started(rows, tmp_path):
    found = rows(Check("hangs", "", "", 2))
    assert found["hangs"].verdict == "failed"
    assert found["hangs"].said.startswith("took longer than 2 s")
    child = int((tmp_path / "logs/hangs.log").read_text())
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_the_deadline_ends_what_runs_and_what_waits(rows):
    started = time.monotonic()
    found = rows(Check("hangs", "", "", 600), Check("passes", "", "", 30), deadline=2, jobs=1)
    assert time.monotonic() - started < 20
    assert found["hangs"].said.startswith("was stopped at the deadline")
    assert (found["passes"].verdict, found["passes"].said) == ("not reached", "the deadline came first")


def test_the_reason_is_the_exception_and_not_the_note_below_it():
    log = "step 1\nTraceback:\n  File x\ntorch.OutOfMemoryError: CUDA out of memory\n[rank0] destroying the group\n"
    assert reason(log) == "torch.OutOfMemoryError: CUDA out of memory"


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_every_check_has_a_function_and_comes_after_what_it_needs(device):
    earlier = set()
    for check in checks(device):
        assert callable(check.function())
        assert earlier.issuperset(check.needs)
        earlier.add(check.name)
    assert [check.name for check in selected(["x0"], device)] == ["data", "stage1", "cache", "x0"]


def test_mistakes_are_one_line(tmp_path, capsys):
    assert main(["--device", "cuda", "--out", str(tmp_path / "new")]) == 2
    assert "there is no GPU here" in capsys.readouterr().err
    assert main(["--device", "cpu", "--only", "stage9"]) == 2
    assert "there is no check stage9; there are data, stage1" in capsys.readouterr().err
    (tmp_path / "thesis.txt").write_text("mine")
    assert main(["--device", "cpu", "--out", str(tmp_path)]) == 2
    assert (tmp_path / "thesis.txt").read_text() == "mine"


@pytest.mark.full
def test_all_checks_pass_on_the_cpu(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "eval.check", "--device", "cpu", "--out", str(tmp_path)],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "check.json").read_text())
    rows = {row["name"]: row["figures"] for row in found["rows"]}
    assert list(rows) == [check.name for check in checks("cpu")]
    assert rows["step"]["share"] > 0
    assert rows["resume"]["difference"] == {"stage1": 0.0, "x0": 0.0}
    assert set(rows["parts"]["seconds"]) > {"data", "forward", "backward", "optimizer", "average", "logging"}
