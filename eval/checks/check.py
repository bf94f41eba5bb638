"""What a check is, and what comes of one."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Literal

Device = Literal["cuda", "cpu"]
Verdict = Literal["passed", "failed", "not reached"]

EXCEPTION = re.compile(r"^(?:\[rank\d+\]:\s*)?(?:[\w.]*(?:Error|Exception|Interrupt)|error)\b.*")


class CheckError(Exception):
    """What was checked is not so: one line."""


@dataclass(frozen=True)
class Place:
    """Where a run of the checks keeps its files, and the device it is about."""

    out: Path
    device: Device

    @property
    def data(self) -> Path:
        """A built-in data set of a few videos."""
        return self.out / "data"

    @property
    def logs(self) -> Path:
        return self.out / "logs"

    def run(self, name: str) -> Path:
        return self.out / name

    def result(self, name: str) -> Path:
        """What a check that passes has written: its `Found`."""
        return self.logs / f"{name}.json"


@dataclass(frozen=True)
class Found:
    """What a check that passes says: a few words for the screen, and figures for whoever reads the JSON."""

    said: str
    figures: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """One row of the table.

    Attributes:
        does: its function, `module.name` in this folder, so that a list of checks imports none of them.
        limit: seconds, after which it and all that it started are ended.
        needs: names of checks whose files it uses.
        alone: nothing else may run beside it, because it measures speed or memory.
    """

    name: str
    what: str
    does: str
    limit: float
    needs: tuple[str, ...] = ()
    alone: bool = False

    def function(self) -> Callable[[Place], Found]:
        """What does it, in the calling process; raises whatever is wrong."""
        module, name = self.does.split(".")
        return getattr(import_module(f"eval.checks.{module}"), name)


@dataclass(frozen=True)
class Row:
    """What came of a check: `said` is what it found, or why it did not pass."""

    name: str
    what: str
    verdict: Verdict
    seconds: float
    said: str
    figures: dict[str, object] = field(default_factory=dict)


def reason(log: str) -> str:
    """The exception that a log ends with, whatever notes and warnings follow it; otherwise its last line."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    named = [line for line in lines if EXCEPTION.match(line)]
    return (named or lines or ["it said nothing"])[-1]
