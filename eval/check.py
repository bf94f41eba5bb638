"""The acceptance run: does everything work on this device, and how fast? What `make check-gpu` runs.

`python -m eval.check --device cuda --out runs/check-gpu`

Every check is a process with a limit; all together have eight minutes on a GPU, the most important ones first. On a CPU
(`--device cpu`) the same checks run on tiny models. The table goes to the screen and, with all figures, to
`OUT/check.json`; what each check said stays in `OUT/work/logs`. Ends with code 1 when a check did not pass.
"""

import os
import platform
import shutil
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch

from eval.checks.check import Check, Device, Place, Row
from eval.checks.schedule import Schedule
from eval.checks.screen import print_rows
from eval.checks.table import checks
from runtime.distributed import usable_cores
from runtime.errors import UserError
from runtime.files import write_json
from runtime.options import OptionParser
from runtime.progress import clock
from runtime.script import script

MINUTES = {"cuda": 8.0, "cpu": 25.0}
JOBS = {"cuda": 4, "cpu": len(usable_cores())}  # on a GPU most of a small run's time is its start, on the CPU


def environment(device: Device) -> dict[str, str]:
    """Of the checks: on a CPU they see no GPU, and each has its part of the cores."""
    if device == "cuda":
        return dict(os.environ)
    return os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": str(len(usable_cores()) // JOBS["cpu"])}


def selected(names: list[str] | None, device: Device) -> list[Check]:
    """The checks of these names and those that they need, in the table's order; all without names."""
    table = checks(device)
    by_name = {check.name: check for check in table}
    if unknown := set(names or ()) - set(by_name):
        raise UserError(f"there is no check {', '.join(sorted(unknown))}; there are {', '.join(by_name)}")
    wanted, waiting = set(), list(names or by_name)
    while waiting:
        name = waiting.pop()
        wanted.add(name)
        waiting += by_name[name].needs
    return [check for check in table if check.name in wanted]


def empty_place(out: Path, device: Device) -> Place:
    """Where the checks keep their files, without those of an earlier run. Raises `UserError` for a folder not ours."""
    work = out / "work"
    if out.is_dir() and any(out.iterdir()) and not work.is_dir():
        raise UserError(f"{out} holds other files; choose an empty folder with --out")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    return Place(work.resolve(), device)


def describe(device: Device) -> dict[str, str]:
    """What the figures were measured on."""
    name = torch.cuda.get_device_name() if device == "cuda" else f"{platform.machine()} CPU, {JOBS['cpu']} cores"
    return {"device": name, "torch": torch.__version__, "python": platform.python_version()}


def run_checks(place: Place, chosen: list[Check], minutes: float) -> list[Row]:
    """Their rows, in the table's order."""

    def command(check: Check) -> list[str]:
        return [sys.executable, "-m", "eval.checks", check.name, str(place.out), place.device]

    def say(line: str) -> None:
        print(f"{clock(time.monotonic() - started)}  {line}", file=sys.stderr, flush=True)

    started = time.monotonic()
    schedule = Schedule(command, environment(place.device), place, 60 * minutes, JOBS[place.device], say)
    rows = {}
    for row in schedule.rows(chosen):
        rows[row.name] = row
        say(f"{row.name}: {row.verdict} ({len(rows)}/{len(chosen)}): {row.said}")
    return [rows[check.name] for check in chosen]


@script
def main(argv: list[str]) -> None:
    parser = OptionParser(description="Check and measure everything on a device.")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: the same checks, tiny")
    parser.add_argument("--out", type=Path, default=Path("runs/check-gpu"))
    parser.add_argument("--minutes", type=float, help="for everything (default 8, on a CPU 25)")
    parser.add_argument("--only", nargs="+", metavar="CHECK", help="these checks and those that they need")
    args = parser.parse_args(argv)
    if args.device == "cuda" and not torch.cuda.is_available():
        raise UserError("there is no GPU here; `make check-gpu DEVICE=cpu` runs the same checks small on the CPU")
    chosen = selected(args.only, args.device)
    place, about, started = empty_place(args.out, args.device), describe(args.device), time.monotonic()
    rows = run_checks(place, chosen, args.minutes or MINUTES[args.device])
    seconds = time.monotonic() - started
    write_json(args.out / "check.json", {**about, "seconds": round(seconds, 1), "rows": [asdict(row) for row in rows]})
    passed = sum(row.verdict == "passed" for row in rows)
    summary = f"{passed} of {len(rows)} checks passed in {clock(seconds)}"
    print_rows(rows, f"{about['device']}, torch {about['torch']}", f"{summary}; figures in {args.out / 'check.json'}")
    if passed < len(rows):
        print(f"{summary}; what the others said lies in {place.logs}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    sys.exit(main())
