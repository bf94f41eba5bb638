"""The share of a GPU's peak that each part of a project reaches: measured by `make check-gpu`, said, or assumed."""

import json
from dataclasses import dataclass
from pathlib import Path

from eval.costs.hardware import GPU
from runtime.errors import UserError

ASSUMED = 0.4
"""Nothing of this project was measured on a GPU yet. On a CPU a forward and backward pass of stage one in bf16 reached
57 % of the rate of large matrix products, and a whole step 36 % (docs/results.md)."""

# The check of `eval.check` that measures a part; the encoder stands in with the whole forward pass.
CHECKS = {"stage1": "step", "cache": "forward", "stage2": "step-stage2"}


@dataclass(frozen=True)
class Share:
    """Of the peak rate of bf16 matrix products, and where the figure comes from."""

    value: float
    source: str


def shares_of(gpu: GPU, said: dict[str, float | None], measured: Path | None) -> dict[str, Share]:
    """For each part what was said, else what was measured, else what is assumed.

    Raises `UserError` for a share that is none, and for measurements that are unreadable or of another device.
    """
    found = read_checks(measured, gpu) if measured else {}
    shares = {part: Share(ASSUMED, "assumed: not measured on a GPU") for part in CHECKS}
    shares |= found | {part: Share(value, "given") for part, value in said.items() if value is not None}
    for part, share in shares.items():
        if not 0 < share.value <= 1:
            raise UserError(f"a share of {share.value:g} of the peak rate for {part}; give one above 0 and at most 1")
    return shares


def read_checks(path: Path, gpu: GPU) -> dict[str, Share]:
    """What `check.json` has of each part."""
    try:
        content = json.loads(path.read_text())
        device, rows = content["device"], {row["name"]: row["figures"] for row in content["rows"]}
        rates = {part: rows[check]["flop_rate"] for part, check in CHECKS.items() if rows.get(check)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no check.json of `make check-gpu` ({error})") from error
    if not gpu.is_called(device):
        raise UserError(f"{path} was measured on {device}, not on {gpu.name}; choose another --gpu or file")
    return {part: Share(rate / gpu.peak, f"measured on {device} ({path})") for part, rate in rates.items()}
