"""Every script starts by path from another folder and answers a mistake with one line and code 2."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = (
    "autoencoder/train.py",
    "autoencoder/cache.py",
    "autoencoder/reconstruct.py",
    "autoencoder/release.py",
    "autoencoder/bench.py",
    "generator/train.py",
    "generator/sample.py",
    "eval/fvd.py",
    "eval/reconstruction.py",
    "eval/cost.py",
    "eval/classifier.py",
    "eval/demo.py",
    "eval/report.py",
    "data/synthetic",
    "data/bench.py",
    "data/ucf101.py",
    "data/latents",
    "data/shards",
)


def run(arguments, folder):
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_run_by_path_from_anywhere(script, tmp_path):
    done = run([str(ROOT / script), "--help"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout.lower()


def test_a_script_runs_as_a_module_and_names_a_mistake(launch):
    done = launch("generator.sample", "--weights", "nowhere", "--out", "x")
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("error: nowhere holds no generator")
    assert "Traceback" not in done.stderr


def test_make_lists_its_targets(tmp_path):
    listed = subprocess.run(
        ["make", "-C", ROOT, "help"], capture_output=True, text=True, check=True, env={**os.environ}
    )
    for target in ("setup", "demo", "test", "stage1", "stage2", "sample", "eval", "bench", "lint", "clean"):
        assert f"{target} " in listed.stdout
