"""One line of progress: how far, how fast, how long still."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

Item = TypeVar("Item")

TERMINAL_INTERVAL = 0.2
LOG_INTERVAL = 10.0


def clock(seconds: float) -> str:
    """`75.2` to `1:15`."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


class Progress:
    """Rewrites its line on a terminal; prints a line every ten seconds into a file. `done` counts earlier work."""

    def __init__(self, what: str, total: int, unit: str, done: int = 0, show: bool = True) -> None:
        self.what, self.total, self.unit, self.done, self.show = what, total, unit, done, show
        self.first = done
        self.started = self.printed = time.monotonic()
        self.interval = TERMINAL_INTERVAL if sys.stderr.isatty() else LOG_INTERVAL

    @property
    def rate(self) -> float:
        """Units a second since this run began."""
        return (self.done - self.first) / max(time.monotonic() - self.started, 1e-9)

    def advance(self, count: int = 1, details: str = "") -> None:
        """`details` stands between the count and the rate."""
        self.done += count
        now = time.monotonic()
        if self.show and (now - self.printed >= self.interval or self.done >= self.total):
            self.printed = now
            self.print(details)

    def print(self, details: str) -> None:
        remaining = (self.total - self.done) / self.rate if self.rate else 0.0
        parts = [f"{self.what} {self.done}/{self.total}", details, f"{self.rate:.3g} {self.unit}/s"]
        parts.append(f"ETA {clock(remaining)}" if self.done < self.total else f"took {clock(self.elapsed)}")
        line = "  ".join(part for part in parts if part)
        if sys.stderr.isatty():
            print(f"\r{line}\033[K", end="\n" if self.done >= self.total else "", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.started


def track(items: Iterable[Item], total: int, what: str, unit: str) -> Iterator[Item]:
    """Yield `items` under a line of progress."""
    progress = Progress(what, total, unit)
    for item in items:
        yield item
        progress.advance()


class Track(Protocol):
    """Whatever shows progress as `track` does."""

    def __call__(self, items: Iterable[Item], total: int, what: str, unit: str) -> Iterator[Item]: ...
