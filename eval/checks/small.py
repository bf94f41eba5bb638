"""The project's own commands, started as a user starts them, on the shipped configurations at small sizes.

On a GPU the clips have the shipped size and the models its shapes at a third of the width and two blocks of depth; on a
CPU all is tiny.
"""

import subprocess
import sys
from pathlib import Path

from eval.checks.check import CheckError, Place, reason

CONFIGS = Path(__file__).parents[2] / "configs"
STEPS, HALF = 6, 3

# LPIPS needs weights that are not here to be fetched; the discriminator, which needs none, begins at once, and so does
# the exchange of dynamics.
EVERY_STAGE1 = ("--loss.perceptual", "0", "--loss.disc_start", "2", "--loss.exchange_start", "2")
EVERY_STAGE1 += ("--validation.clips", "2")
EVERY_RUN = ("--loop.steps", str(STEPS), "--loop.save_every", str(HALF), "--loop.validate_every", "0")
EVERY_RUN += ("--loop.log_every", "1", "--optimizer.warmup_steps", "2", "--optimizer.lr", "1e-3")
EVERY_RUN += ("--engine.accumulation", "1")

TINY_VIDTWIN = (
    "--model.frames", "4", "--model.height", "32", "--model.width", "32", "--model.patch", "[1,8,8]",
    "--model.dim", "16", "--model.encoder_depth", "1", "--model.decoder_depth", "1", "--model.num_heads", "2",
    "--model.num_queries", "2", "--model.query_dim", "8", "--model.qformer_depth", "1", "--model.qformer_heads", "2",
    "--model.qformer_hidden", "16", "--model.structure_channels", "2", "--model.structure_conv_dim", "8",
    "--model.dynamics_channels", "2",
)  # fmt: skip
SHALLOW_VIDTWIN = ("--model.dim", "256", "--model.encoder_depth", "2", "--model.decoder_depth", "2")
SHALLOW_VIDTWIN += ("--model.num_heads", "4")
VIDTWIN = {
    "cpu": (*TINY_VIDTWIN, "--data.in_memory", "true", "--data.workers", "0", "--loop.batch_size", "4"),
    "cuda": (*SHALLOW_VIDTWIN, "--loop.batch_size", "8"),
}

TINY_DIT = ("--model.width", "16", "--model.depth", "1", "--model.num_heads", "2", "--model.class_width", "8")
DIT = {
    "cpu": (*TINY_DIT, "--diffusion.sample_steps", "2", "--loop.batch_size", "4", "--preview", "2"),
    "cuda": ("--model.width", "384", "--model.depth", "2", "--model.num_heads", "6", "--loop.batch_size", "16"),
}


def command(module: str, *arguments: object) -> str:
    """Run a module of the project to its end; what it said, which goes to this process's log as it comes.

    Raises `CheckError` when it does not end with 0.
    """
    called = [sys.executable, "-m", module, *map(str, arguments)]
    process = subprocess.Popen(called, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = []
    for line in process.stdout:
        print(line, end="", file=sys.stderr, flush=True)
        said.append(line)
    if code := process.wait():
        raise CheckError(f"{module} ended with code {code}: {reason(''.join(said))}")
    return "".join(said)


def stage1(place: Place, name: str, *overrides: str) -> list[str]:
    """The arguments of `autoencoder.train` for a small run of that name."""
    config = ["--config", str(CONFIGS / "stage1/base.yaml"), *EVERY_STAGE1, *EVERY_RUN, *VIDTWIN[place.device]]
    return [*config, "--data.root", str(place.data), "--run", str(place.run(name)), *overrides]


def stage2(place: Place, name: str, objective: str, *overrides: str) -> list[str]:
    """The arguments of `generator.train` for a small run of that name, on the latents of the run `stage1`."""
    file = {"x0": "paper.yaml", "flow": "modern.yaml"}[objective]
    config = ["--config", str(CONFIGS / "stage2" / file), *EVERY_RUN, *DIT[place.device]]
    trained = place.run("stage1")
    latents = ["--cache", str(trained / "latents/train"), "--autoencoder", str(trained / "weights/ema")]
    return [*config, *latents, "--run", str(place.run(name)), *overrides]
