"""Stage one's speed and memory, through `autoencoder.bench`: `base` on a GPU, a tiny model on a CPU."""

import json
import time

from eval.checks.check import CheckError, Found, Place
from eval.checks.small import CONFIGS, TINY_VIDTWIN, command

BATCH = {"cpu": 1, "cuda": 8}
SWEPT = {"cpu": (1, 2), "cuda": (12, 16, 24, 32)}
SWEEP_SECONDS = 80  # no larger batch is begun after that: its limit is near


def forward(place: Place) -> Found:
    return described(bench(place, "forward", BATCH[place.device]))


def both_passes(place: Place) -> Found:
    return described(bench(place, "forward + backward", BATCH[place.device]))


def step(place: Place) -> Found:
    return described(bench(place, "training step", BATCH[place.device]))


def sweep(place: Place) -> Found:
    """Training steps of ever more clips until they do not fit, or time is up."""
    rows, ended, started = [], "time was up", time.monotonic()
    for batch in SWEPT[place.device]:
        if time.monotonic() - started > SWEEP_SECONDS:
            break
        try:
            rows.append(bench(place, "training step", batch))
        except CheckError as error:
            if not rows or "OutOfMemory" not in str(error):
                raise
            ended = f"{batch} do not fit"
            break
    else:
        ended = "no larger one was tried"
    largest = rows[-1]
    return Found(f"{largest['batch']} fit ({ended}); {rates(largest)}", {"rows": rows, "ended": ended})


def bench(place: Place, row: str, batch: int) -> dict[str, float]:
    """One row of the bench."""
    output = place.out / "bench" / f"{row.replace(' ', '-')}-{batch}.json"
    sizes = TINY_VIDTWIN if place.device == "cpu" else ()
    settings = ("--batch_size", batch, "--output", output, "--engine.accumulation", "1", *sizes)
    command("autoencoder.bench", CONFIGS / "stage1/base.yaml", "--rows", row, *settings)
    (measured,) = json.loads(output.read_text())
    return measured


def described(row: dict[str, float]) -> Found:
    return Found(rates(row), row)


def rates(row: dict[str, float]) -> str:
    """Clips a second, TFLOP/s, share of the matmul rate and memory, as a row shows them."""
    speed = f"{row['clips_per_second']:.3g} clips/s  {row['flop_rate'] / 1e12:.3g} TFLOP/s"
    return f"{speed}  {row['share']:.0%} of matmul  {row['peak_memory'] / 1e9:.2f} GB"
