"""Every script starts by path from another folder, reads options alike, answers a mistake with one line and code 2."""

import importlib
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = (
    "app",
    "autoencoder/train.py",
    "autoencoder/cache.py",
    "autoencoder/reconstruct.py",
    "autoencoder/release.py",
    "autoencoder/bench.py",
    "generator/train.py",
    "generator/sample.py",
    "generator/walk.py",
    "generator/export.py",
    "generator/average.py",
    "generator/bench.py",
    "eval/ablation.py",
    "eval/fvd.py",
    "eval/reconstruction.py",
    "eval/cost.py",
    "eval/classifier.py",
    "eval/generation/continuation.py",
    "eval/generation/conditional.py",
    "eval/decoupling.py",
    "eval/gallery",
    "eval/demo.py",
    "eval/check.py",
    "eval/report.py",
    "eval/generation/sweep.py",
    "data/synthetic",
    "data/bench.py",
    "data/ucf101.py",
    "data/latents",
    "data/shards",
)
BENCHED = {"autoencoder/bench.py": "configs/stage1/demo.yaml", "generator/bench.py": "configs/stage2/demo.yaml"}
OPTION = re.compile(r"--[a-z][a-z0-9_.]*[a-z0-9]")


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_run_by_path_from_anywhere(script, start):
    process = start(str(ROOT / script), "--help")
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert out.lower().startswith("usage")


@pytest.fixture
def answer(capsys):
    """What a script says, called in this process, and its exit code."""

    def call(script, *arguments):
        main = importlib.import_module(
            script.removesuffix(".py").replace("/", ".") + ("" if "." in script else ".__main__")
        )
        try:
            code = main.main(list(arguments))
        except SystemExit as done:  # --help
            code = done.code
        return code, capsys.readouterr()

    return call


@pytest.mark.parametrize("script", SCRIPTS)
def test_options_are_documented_with_underscores_and_taken_with_hyphens(script, answer):
    code, said = answer(script, "--help")
    assert code == 0
    assert not re.search(r"--[a-z_.]+-[a-z]", said.out)
    for option in sorted({name for name in OPTION.findall(said.out) if "_" in name})[:4]:
        written, hyphened = (answer(script, name, "--xyzzy") for name in (option, f"--{option[2:].replace('_', '-')}"))
        assert hyphened[0] == written[0] == 2
        assert hyphened[1].err == written[1].err
        assert "did you mean" not in written[1].err


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_wrong_option_is_answered_with_the_nearest_right_one(script, answer):
    options = OPTION.findall(answer(script, "--help")[1].out)
    option = next((name for name in options if name not in ("--help", "--config")), "--help")
    first = [str(ROOT / BENCHED[script])] if script in BENCHED else []
    code, said = answer(script, *first, f"{option}s", "1")
    assert code == 2
    assert re.search(rf"; did you mean (.* or )?{option}\b.*\?$", said.err.strip()), said.err
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1


def test_the_bench_knows_its_own_options_and_those_of_the_configuration(answer):
    config = str(ROOT / "configs/stage1/demo.yaml")
    assert "did you mean --repeats?" in answer("autoencoder/bench.py", config, "--repeat", "1")[1].err
    assert "did you mean --engine.precision?" in answer("autoencoder/bench.py", config, "--precision", "fp32")[1].err
    said = answer("autoencoder/bench.py", config, "--batch-size", "0", "--loop.batch-size", "8")[1].err
    assert said == "error: --batch_size and --repeats must be positive\n"


def test_a_script_runs_as_a_module_and_names_a_mistake(launch):
    done = launch("generator.sample", "--weights", "nowhere", "--out", "x")
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("error: nowhere holds no generator")
    assert "Traceback" not in done.stderr


def test_make_lists_its_targets(tmp_path):
    listed = subprocess.run(
        ["make", "-C", ROOT, "help"], capture_output=True, text=True, check=True, env={**os.environ}
    )
    for target in (
        "setup",
        "demo",
        "app",
        "ablation",
        "test",
        "stage1",
        "stage2",
        "sample",
        "eval",
        "bench",
        "lint",
        "clean",
    ):
        assert f"{target} " in listed.stdout
