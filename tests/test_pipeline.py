"""The whole line in miniature: what `make demo` runs, with a handful of steps."""

import argparse
import json
import shutil
from pathlib import Path

from data.video.frames import probe
from eval.demo import print_plan, steps
from generator.samples import SAMPLES


def test_the_demo_makes_everything_it_names_and_resumes(launch, builtin_set, tmp_path):
    run = tmp_path / "demo"
    arguments = ["--run", str(run), "--data", str(builtin_set), "--videos_per_class", "4"]
    arguments += ["--steps", "2", "--samples", "10"]
    done = launch("eval.demo", *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("6 steps; stopped at any time")
    assert done.stdout.endswith("where guessing would give 1.\n")
    summary = json.loads((run / "summary.json").read_text())
    assert summary["psnr"].keys() >= {"reconstruction", "trivial", "structure", "dynamics"}
    assert summary["accuracy"].keys() >= {"real", "reconstruction", "generated", "chance"}
    assert summary["accuracy"]["chance"] == 0.1
    assert list(summary["seconds"]) == ["data", "stage1", "cache", "stage2", "sample", "evaluate", "total"]
    assert 0.1 < summary["peak_memory_gb"] < 6
    named = [line.split(":")[0].strip() for line in done.stdout.split("\nlook at\n")[1].splitlines() if ":" in line]
    assert len(named) == 6
    for name in named:
        assert name.startswith(str(run))
    assert probe(run / "samples" / "grid.mp4").frames == 16
    for name in ("curves.png", "generator/curves.png", "evaluation/panels.png"):
        assert (run / name).stat().st_size > 1000

    drawn = (run / "samples" / SAMPLES).read_bytes()
    shutil.rmtree(run / "samples")  # as if it had been killed while sampling
    record = json.loads((run / "steps.json").read_text())
    (run / "steps.json").write_text(json.dumps({name: record[name] for name in record if name != "sample"}))
    again = launch("eval.demo", *arguments)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("done before") == 5
    assert (run / "samples" / SAMPLES).read_bytes() == drawn
    figures = json.loads((run / "summary.json").read_text())
    assert figures["psnr"] == summary["psnr"]
    assert figures["accuracy"] == summary["accuracy"]


def test_the_plan_says_how_long_the_default_sizes_take(capsys):
    args = argparse.Namespace(run=Path("r"), data=Path("d"), samples=200, videos_per_class=60, steps=None)
    print_plan(steps(args), args, done=[])
    first, *lines = capsys.readouterr().out.splitlines()
    assert "about 9 minutes on two cores" in first
    assert [line.split()[1] for line in lines] == ["data", "stage1", "cache", "stage2", "sample", "evaluate"]
    assert all(line[-3] == ":" for line in lines)
