"""Processes that work for a run: deaf to what asks it to stop, and gone when it is.

A terminal, Slurm and some launchers send a signal to every process of a run. Workers that obeyed it would leave the run
without what it needs until it has saved. So neither they nor the two helpers from which `multiprocessing` forks them
ever see one; and what holds on to them longer than the run lasts is cut: they watch it, and are ended by SIGKILL.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver, parent_process, popen_forkserver, resource_tracker
from multiprocessing.context import ForkServerContext, ForkServerProcess

from runtime.preemption import SIGNALS


class Handle(popen_forkserver.Popen):
    """What the run holds of a worker."""

    def terminate(self) -> None:
        """What a `DataLoader` and Python's end do to a worker that is busy for too long: SIGTERM would not reach it."""
        self.kill()


class Worker(ForkServerProcess):
    """Ends with the process that started it, also one that is killed: its own parent, the server, would live on."""

    @staticmethod
    def _Popen(worker: "Worker") -> Handle:
        return Handle(worker)

    def run(self) -> None:
        threading.Thread(target=lambda: (parent_process().join(), os._exit(1)), daemon=True).start()
        super().run()


class DeafWorkers(ForkServerContext):
    """A way to start processes: a `DataLoader`'s `multiprocessing_context`, a pool's `mp_context`.

    The server from which they are forked imports PyTorch, once for all of them.
    """

    Process = Worker

    def __init__(self) -> None:
        self.set_forkserver_preload(["torch"])
        for helper in (resource_tracker, forkserver):  # the tracker, once started, lets some signals through
            with deaf():
                helper.ensure_running()


@contextmanager
def deaf() -> Iterator[None]:
    """Signals that ask a run to stop wait until the end of this `with`; a process started inside never gets them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
