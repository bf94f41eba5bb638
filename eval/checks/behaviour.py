"""What has to work on a device: every way of training and going on, caching, sampling, the whole line."""

import json
import math
import os
import shutil
from pathlib import Path
from xml.etree import ElementTree

from eval.checks.check import CheckError, Found, Place
from eval.checks.small import HALF, STEPS, command, stage1, stage2

ROOT = Path(__file__).parents[2]
VIDEOS_PER_CLASS = 4
REFERENCE = ("--engine.precision", "fp32", "--engine.compile", "off")
BF16 = ("--engine.precision", "bf16", "--engine.compile", "off")
COMPILED = ("--engine.precision", "bf16", "--engine.compile", "on")
# Of the loss, between a run in float32 and one in bf16 from the same start, after so few steps.
BF16_BOUND = 0.05
# Of the weights, relative to their norm: on a CPU the same bits; a GPU adds some gradients up in any order.
RESUME_BOUND = {"cpu": 0.0, "cuda": 1e-3}
STAGE_BOUND = {"cpu": 1e-5, "cuda": 1e-3}


def render(place: Place) -> Found:
    return Found(last_line(command("data.synthetic", place.data, "--videos_per_class", VIDEOS_PER_CLASS)))


def train_stage1(place: Place) -> Found:
    command("autoencoder.train", *stage1(place, "stage1", *REFERENCE))
    return trained(place.run("stage1"))


def train_x0(place: Place) -> Found:
    command("generator.train", *stage2(place, "x0", "x0", *REFERENCE))
    return trained(place.run("x0"))


def train_flow(place: Place) -> Found:
    command("generator.train", *stage2(place, "flow", "flow", *REFERENCE))
    return trained(place.run("flow"))


def bf16_stage1(place: Place) -> Found:
    return stage1_as_in_fp32(place, "bf16-stage1", BF16)


def bf16_x0(place: Place) -> Found:
    return stage2_as_in_fp32(place, "bf16-x0", "x0", BF16)


def bf16_flow(place: Place) -> Found:
    return stage2_as_in_fp32(place, "bf16-flow", "flow", BF16)


def compile_stage1(place: Place) -> Found:
    return stage1_as_in_fp32(place, "compile-stage1", COMPILED)


def compile_stage2(place: Place) -> Found:
    return stage2_as_in_fp32(place, "compile-stage2", "x0", COMPILED)


def cache(place: Place) -> Found:
    """Both splits, in shards of a few clips, read again and compared with their checksums."""
    said = command("autoencoder.cache", "--run", place.run("stage1"), "--shard_size", 16, "--batch_size", 4)
    for split in ("train", "test"):
        command("data.latents", "verify", place.run("stage1") / "latents" / split)
    return Found(last_line(said).removeprefix(str(place.out) + os.sep))


def resume(place: Place) -> Found:
    """Both stages go on from the middle and end as if they had never stopped."""
    bound = RESUME_BOUND[place.device]
    differences = {}
    for name, module, arguments in (
        ("stage1", "autoencoder.train", stage1(place, "resume-stage1", *REFERENCE)),
        ("x0", "generator.train", stage2(place, "resume-x0", "x0", *REFERENCE)),
    ):
        differences[name] = continued(place, name, f"resume-{name}", module, arguments, bound)
    return Found(compared(max(differences.values()), bound), {"difference": differences, "bound": bound})


def zero_stage(place: Place) -> Found:
    """A run of ZeRO stage 1 goes on at stage 2."""
    arguments, bound = stage1(place, "zero", *REFERENCE, "--engine.zero_stage", "2"), STAGE_BOUND[place.device]
    difference = continued(place, "stage1", "zero", "autoencoder.train", arguments, bound)
    return Found(compared(difference, bound), {"difference": difference, "bound": bound})


def sample(place: Place) -> Found:
    """Both objectives' samplers give videos, and the same ones again."""
    from safetensors.numpy import load_file

    for name in ("x0", "flow"):
        videos = []
        for again in ("", "-again"):
            out = place.out / f"samples-{name}{again}"
            where = ("--weights", place.run(name) / "weights/ema", "--out", out)
            command("generator.sample", *where, "--num", 4, "--batch_size", 4)
            videos.append(load_file(out / "samples.safetensors")["videos"])
        if videos[0].min() == videos[0].max():
            raise CheckError(f"the samples of {name} are of one colour")
        if place.device == "cpu" and (videos[0] != videos[1]).any():
            raise CheckError(f"the same seed gave other samples of {name}")
    return Found(f"2 x 4 videos of {'x'.join(map(str, videos[0].shape[1:4]))}")


def demo(place: Place) -> Found:
    """The whole line in miniature."""
    sizes = ("--videos_per_class", VIDEOS_PER_CLASS, "--samples", 20, "--steps", STEPS)
    command("eval.demo", "--run", place.run("demo"), "--data", place.data, *sizes)
    summary = json.loads((place.run("demo") / "summary.json").read_text())
    return Found(f"in {summary['seconds']['total']:.0f} s", {"seconds": summary["seconds"]})


def gpu_tests(place: Place) -> Found:
    """The tests marked `gpu`; without a GPU all of them are left out."""
    report = place.out / "tests.xml"
    places = (ROOT / "tests", "--rootdir", ROOT, "-c", ROOT / "pyproject.toml", "-p", "no:cacheprovider")
    command("pytest", "-m", "gpu", f"--junitxml={report}", *places)
    suite = ElementTree.parse(report).getroot().find("testsuite")
    count, skipped = int(suite.get("tests")), int(suite.get("skipped"))
    if place.device == "cuda" and count == skipped:
        raise CheckError(f"none of {count} tests ran")
    return Found(f"{count - skipped} passed, {skipped} left out", {"passed": count - skipped, "left_out": skipped})


def trained(run: Path) -> Found:
    """Its last loss. Raises `CheckError` where a step was left out or a logged loss is not finite."""
    skipped, losses = json.loads((run / "training.json").read_text())["skipped_steps"], logged_losses(run)
    if skipped or not all(math.isfinite(loss) for loss in losses):
        raise CheckError(f"{skipped} steps were left out; losses {losses}")
    return Found(f"loss {losses[0]:.4g} to {losses[-1]:.4g} in {len(losses)} steps", {"losses": losses})


def stage1_as_in_fp32(place: Place, name: str, computed: tuple[str, ...]) -> Found:
    command("autoencoder.train", *stage1(place, name, *computed))
    return as_in_fp32(place, name, "stage1")


def stage2_as_in_fp32(place: Place, name: str, objective: str, computed: tuple[str, ...]) -> Found:
    command("generator.train", *stage2(place, name, objective, *computed))
    return as_in_fp32(place, name, objective)


def as_in_fp32(place: Place, name: str, reference: str) -> Found:
    """Its losses beside those of the float32 run of the same start, which they must be close to."""
    losses = trained(place.run(name)).figures["losses"]
    expected = logged_losses(place.run(reference))
    difference = max(abs(a - b) / abs(b) for a, b in zip(losses, expected, strict=True))
    if difference > BF16_BOUND:
        raise CheckError(f"losses {losses} differ from those in float32, {expected}, by {difference:.1%}")
    return Found(f"losses within {100 * difference:.2g} % of float32", {"losses": losses, "difference": difference})


def logged_losses(run: Path) -> list[float]:
    """Of each step; what a validation says has lines of its own."""
    logged = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in logged if "loss" in line]


def continued(place: Place, whole: str, name: str, module: str, arguments: list[str], bound: float) -> float:
    """Continue a copy of the run `whole` from its middle; how far its weights end from those of `whole`."""
    run = place.run(name)
    ignored = shutil.ignore_patterns(f"step_{STEPS:08}", "weights", "latents")
    shutil.copytree(place.run(whole), run, ignore=ignored)
    if f"continuing from step {HALF}" not in command(module, *arguments):
        raise CheckError(f"the run did not continue from step {HALF}")
    if (difference := weights_apart(run, place.run(whole))) > bound:
        raise CheckError(f"{name}: its weights end {difference:.1e} from those that never stopped, more than {bound:g}")
    return difference


def weights_apart(run: Path, whole: Path) -> float:
    """Norm of the difference of two runs' weights as trained, relative to their norm."""
    from safetensors.numpy import load_file

    (path,) = (path for path in (whole / "weights/raw").rglob("*.safetensors") if "autoencoder" not in path.parts[-2:])
    ours, theirs = load_file(run / path.relative_to(whole)), load_file(path)
    apart = sum(float(((ours[name] - theirs[name]) ** 2).sum()) for name in theirs)
    return math.sqrt(apart / sum(float((theirs[name] ** 2).sum()) for name in theirs))


def compared(difference: float, bound: float) -> str:
    return "the same bits" if difference == 0 else f"weights {difference:.1e} apart, bound {bound:g}"


def last_line(said: str) -> str:
    return said.strip().splitlines()[-1]
