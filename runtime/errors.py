"""The exceptions that end a run in order: mistakes that the user can put right, and requests to stop."""

import re
import signal


class UserError(ValueError):
    """A mistake in what the user gave: one line that says what is wrong and what to do.

    Scripts print it on stderr without a traceback and exit 2 (see `runtime.script`). One that a `DataLoader`'s worker
    raised comes with the worker's traceback for its message, of which the last line is ours.
    """

    def __str__(self) -> str:
        said = super().__str__()
        return re.sub(r"^[\w.]+: ", "", said.rstrip().splitlines()[-1]) if "Original Traceback" in said else said


class SaidByMain(UserError):
    """The main process's `UserError`, on the others, which need not repeat it."""


class Preempted(Exception):
    """The run was asked to stop, has saved, and continues when its command is given again."""

    def __init__(self, number: int, where: str) -> None:
        super().__init__(number, where)
        self.number, self.where = number, where

    def __str__(self) -> str:
        return f"stopped by {signal.Signals(self.number).name} at {self.where}; the same command continues from there"
