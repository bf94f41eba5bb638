"""Checks as processes: the most important first, as many at a time as may be, each under its limit, all under one."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from eval.checks.check import Check, Found, Place, Row, Verdict, reason

POLL_SECONDS = 0.05

Command = Callable[[Check], list[str]]


@dataclass
class Running:
    """A check's process, its result and its log, which holds all that it and its commands say."""

    check: Check
    process: subprocess.Popen
    result: Path
    log: Path
    started: float
    ends: float

    def row(self, now: float) -> Row | None:
        """Its row, once it is over or its time is."""
        if self.process.poll() is None and now < self.ends:
            return None
        if self.process.returncode is None:
            end_family(self.process)
            on_time = self.ends < self.started + self.check.limit
            limit = "was stopped at the deadline" if on_time else f"took longer than {self.check.limit:.0f} s"
            return self.ended("failed", now, Found(f"{limit}: {reason(self.log.read_text())}"))
        if self.process.returncode:
            return self.ended("failed", now, Found(reason(self.log.read_text())))
        return self.ended("passed", now, Found(**json.loads(self.result.read_text())))

    def ended(self, verdict: Verdict, now: float, found: Found) -> Row:
        seconds = round(now - self.started, 1)
        return Row(self.check.name, self.check.what, verdict, seconds, found.said, found.figures)


class Schedule:
    """Runs checks, in order where nothing forbids it.

    Args:
        command: the command line of a check's process, which ends with 0 once its result is written.
        environment: of all these processes.
        place: where they keep their files.
        deadline: seconds for all of them together.
        jobs: at most so many at a time.
        say: called with each line of progress.
    """

    def __init__(
        self,
        command: Command,
        environment: dict[str, str],
        place: Place,
        deadline: float,
        jobs: int,
        say: Callable[[str], None],
    ) -> None:
        self.command, self.environment, self.place, self.jobs, self.say = command, environment, place, jobs, say
        self.ends = time.monotonic() + deadline
        self.running: list[Running] = []
        self.passed: set[str] = set()

    def rows(self, checks: Sequence[Check]) -> Iterator[Row]:
        """One row for each check, as they come."""
        self.place.logs.mkdir(parents=True, exist_ok=True)
        waiting = list(checks)
        with self.all_ended():
            while waiting or self.running:
                yield from self.finished()
                yield from self.hopeless(waiting)
                self.start_what_can(waiting)
                time.sleep(POLL_SECONDS)

    @contextmanager
    def all_ended(self) -> Iterator[None]:
        """However this ends, nothing goes on running."""
        try:
            yield
        finally:
            for each in self.running:
                end_family(each.process)

    def finished(self) -> Iterator[Row]:
        for each in list(self.running):
            if row := each.row(time.monotonic()):
                self.running.remove(each)
                if row.verdict == "passed":
                    self.passed.add(row.name)
                yield row

    def hopeless(self, waiting: list[Check]) -> Iterator[Row]:
        """Rows of checks that will not run: time is over, or what they need did not pass."""
        over = time.monotonic() >= self.ends
        coming = {each.check.name for each in self.running} | {check.name for check in waiting}
        for check in list(waiting):
            missing = [name for name in check.needs if name not in self.passed | coming]
            if over or missing:
                waiting.remove(check)
                why = f"needs {', '.join(missing)}" if missing else "the deadline came first"
                yield Row(check.name, check.what, "not reached", 0.0, why)

    def start_what_can(self, waiting: list[Check]) -> None:
        for check in list(waiting):
            if not self.passed.issuperset(check.needs):
                continue
            busy = self.running and (check.alone or self.running[0].check.alone)
            if busy or len(self.running) >= self.jobs:
                return
            waiting.remove(check)
            self.start(check)

    def start(self, check: Check) -> None:
        log = self.place.logs / f"{check.name}.log"
        with log.open("w") as said:
            process = subprocess.Popen(
                self.command(check), env=self.environment, stdout=said, stderr=said, start_new_session=True
            )
        now = time.monotonic()
        self.running.append(
            Running(check, process, self.place.result(check.name), log, now, min(now + check.limit, self.ends))
        )
        self.say(f"{check.name}: {check.what} ...")


def end_family(process: subprocess.Popen) -> None:
    """End a process, its group, and all that it started in other groups."""
    try:
        strays = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGKILL)
    except (psutil.NoSuchProcess, ProcessLookupError):
        return
    for stray in strays:
        with suppress(psutil.NoSuchProcess):
            stray.kill()
    process.wait()
