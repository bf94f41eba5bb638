"""The main job on the built-in data set, from videos to metrics: what `make demo` runs.

Every step is a process of its own, measured from outside. A step that is done is not done again, one that was
interrupted continues where it stopped.
"""

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import psutil

from runtime.errors import UserError
from runtime.files import write_json
from runtime.options import OptionParser
from runtime.progress import clock
from runtime.script import script

CONFIGS = Path(__file__).parents[1] / "configs"
VIDEOS_PER_CLASS = 60
SAMPLES = 200
POLL_SECONDS = 0.25


@dataclass(frozen=True)
class Step:
    """One stage of the line: a module of the project and its arguments.

    Attributes:
        what: in words that need no knowledge of the project.
        seconds: what it takes at its default size on two cores, as measured for docs/results.md.
    """

    name: str
    what: str
    seconds: float
    arguments: tuple[str, ...]


def steps(args: argparse.Namespace) -> list[Step]:
    run, latents = args.run, args.run / "latents/train"
    quick = ("--loop.steps", args.steps) if args.steps else ()
    quick_report = ("--classifier_steps", args.steps) if args.steps else ()
    data = ("data.synthetic", args.data, "--videos_per_class", args.videos_per_class)
    stage1 = ("autoencoder.train", "--config", CONFIGS / "stage1/demo.yaml", "--data.root", args.data, "--run", run)
    stage2 = ("generator.train", "--config", CONFIGS / "stage2/demo.yaml", "--cache", latents)
    stage2 += ("--autoencoder", run / "weights/ema", "--run", run / "generator")
    sample = ("generator.sample", "--weights", run / "generator/weights/ema", "--num", args.samples)
    line = (
        ("data", "draw small videos of ten motions", 40, data),
        ("stage1", "train VidTwin, which turns a video into two small latents", 250, (*stage1, *quick)),
        ("cache", "turn all videos into latents", 25, ("autoencoder.cache", "--run", run, "--clips_per_video", 8)),
        ("stage2", "train the DiT, which makes latents of a motion out of noise", 145, (*stage2, *quick)),
        ("sample", "make new videos", 12, (*sample, "--batch_size", 50, "--out", run / "samples")),
        (
            "evaluate",
            "measure, draw, and write a report",
            45,
            ("eval.report", "--run", run, "--data", args.data, *quick_report),
        ),
    )
    return [Step(name, what, seconds, tuple(map(str, arguments))) for name, what, seconds, arguments in line]


def print_plan(plan: list[Step], args: argparse.Namespace, done: Collection[str]) -> None:
    """What will be done, and how long that takes where the sizes are the default ones."""
    default = (args.samples, args.videos_per_class, args.steps) == (SAMPLES, VIDEOS_PER_CLASS, None)
    left = sum(step.seconds for step in plan if step.name not in done)
    about = f", about {round(left / 60)} minutes on two cores" if default and left else ""
    print(f"{len(plan)} steps{about}; stopped at any time, the same command goes on where it was")
    for number, step in enumerate(plan, 1):
        length = "done" if step.name in done else clock(step.seconds) if default else ""
        print(f"  {number} {step.name:<9}{step.what:<62}{length:>5}", flush=True)


def run_step(step: Step) -> dict[str, float]:
    """Run it; its wall seconds and the peak memory of it and its children. Raises `UserError` when it fails."""
    started = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", *step.arguments])
    peak = MemoryWatch(process.pid)
    try:
        code = process.wait()
    except KeyboardInterrupt:
        process.wait()
        raise
    if code:
        raise UserError(
            f"the step {step.name} ended with code {code}; what it said stands above; run again to continue"
        )
    return {"seconds": time.monotonic() - started, "peak_memory_gb": peak.gigabytes}


class MemoryWatch:
    """Watches a process and its children: the largest sum of their resident memory, in GB."""

    def __init__(self, pid: int) -> None:
        self.root, self.gigabytes = psutil.Process(pid), 0.0
        threading.Thread(target=self.watch, daemon=True).start()

    def watch(self) -> None:
        while self.root.is_running():
            try:
                family = [self.root, *self.root.children(recursive=True)]
                resident = sum(process.memory_info().rss for process in family)
            except psutil.Error:
                resident = 0
            self.gigabytes = max(self.gigabytes, resident / 1e9)
            time.sleep(POLL_SECONDS)


def summarise(run: Path, done: dict[str, dict[str, float]]) -> dict[str, object]:
    """`summary.json`: the report's figures with what each step took."""
    seconds = {name: round(cost["seconds"], 1) for name, cost in done.items()}
    summary = json.loads((run / "evaluation" / "report.json").read_text())
    summary["seconds"] = {**seconds, "total": round(sum(seconds.values()), 1)}
    summary["memory_gb"] = {name: round(cost["peak_memory_gb"], 2) for name, cost in done.items()}
    summary["peak_memory_gb"] = max(summary["memory_gb"].values())
    write_json(run / "summary.json", summary)
    return summary


def print_summary(run: Path, summary: dict) -> None:
    psnr, accuracy = summary["psnr"], summary["accuracy"]
    print(f"\ndone in {clock(summary['seconds']['total'])} with at most {summary['peak_memory_gb']:.1f} GB of memory")
    print(f"PSNR of test videos: {psnr['reconstruction']:.2f} dB; their own mean frames give {psnr['trivial']:.2f} dB")
    print(
        f"a motion classifier is right on {accuracy['real']:.0%} of real test videos, "
        f"{accuracy['reconstruction']:.0%} of reconstructions, {accuracy['generated']:.0%} of generated videos "
        f"(chance {accuracy['chance']:.0%})"
    )
    print("\nlook at")
    for name, what in (
        ("report.html", "all of this on one page, for a browser"),
        ("samples/grid.mp4", "generated videos with their classes (samples/grid.png as a picture)"),
        ("evaluation/panels.mp4", "original | reconstruction | structure only | dynamics only (panels.png)"),
        ("evaluation/swap.mp4", "structure of one video with the dynamics of another"),
        ("curves.png", "stage one's training; generator/curves.png stage two's"),
        ("summary.json", "every figure"),
    ):
        print(f"  {run / name}: {what}")
    print(f"\n{in_plain_words(accuracy)}")


def in_plain_words(accuracy: dict[str, float]) -> str:
    generated, chance = (round(10 * accuracy[name]) for name in ("generated", "chance"))
    return (
        f"In short, this machine has learnt to make videos of ten motions; about {generated} in 10 show the motion "
        f"that was asked for, where guessing would give {chance}."
    )


@script
def main(argv: list[str]) -> None:
    parser = OptionParser(description="The whole line on the built-in data set.")
    parser.add_argument("--run", type=Path, default=Path("runs/demo"))
    parser.add_argument("--data", type=Path, default=Path("datasets/builtin"))
    parser.add_argument("--samples", type=int, default=SAMPLES, help="videos to generate")
    parser.add_argument("--videos_per_class", type=int, default=VIDEOS_PER_CLASS)
    parser.add_argument("--steps", type=int, help="training steps of everything (default: the configurations')")
    args = parser.parse_args(argv)
    args.run.mkdir(parents=True, exist_ok=True)
    record = args.run / "steps.json"
    done = json.loads(record.read_text()) if record.exists() else {}
    plan = steps(args)
    print_plan(plan, args, done)
    for number, step in enumerate(plan, 1):
        heading = f"[{number}/{len(plan)}] {step.name}: {step.what}"
        if step.name in done:
            print(f"{heading}: done before, in {clock(done[step.name]['seconds'])}", flush=True)
            continue
        print(heading, flush=True)
        done[step.name] = run_step(step)
        write_json(record, done)
    print_summary(args.run, summarise(args.run, done))


if __name__ == "__main__":
    sys.exit(main())
