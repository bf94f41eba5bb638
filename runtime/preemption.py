"""Stopping on request: a signal is remembered, all processes agree on it at a step's end, and nothing is lost."""

import signal
import time
from types import FrameType, TracebackType

from runtime import distributed

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
LAUNCHERS_COPY = 0.5  # seconds: a launcher passes on what a terminal or a scheduler has sent to every process anyway


class StopRequest:
    """Inside a `with`, SIGTERM, SIGUSR1 and Ctrl-C only set a flag; a second one ends the process at once."""

    def __init__(self) -> None:
        self.number, self.since = 0, 0.0

    def __enter__(self) -> "StopRequest":
        self.previous = {number: signal.signal(number, self.remember) for number in SIGNALS}
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def remember(self, number: int, _: FrameType | None) -> None:
        if self.number and time.monotonic() - self.since > LAUNCHERS_COPY:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        if not self.number:
            self.number, self.since = number, time.monotonic()

    def agreed(self) -> int:
        """The signal that any process was sent, or 0; every process must ask."""
        return distributed.greatest(self.number)
