"""Processes that begin with the large libraries: forks of a server that has imported them, which takes seconds.

All else is as where Python starts them: arguments, environment, folder, output, `__main__`, signals, exit code. Each
leads a session of its own, and none outlives whoever asked for it.

`python -m tests.processes` is the server: a line with a command or a question in, one with the answer out, both JSON.
"""

import atexit
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[1]
SAID = ("out", "err")


class Process:
    """A process with `subprocess.Popen`'s own ways; what it says goes to files in `folder`."""

    def __init__(self, server: "Server", pid: int, folder: Path) -> None:
        self.server, self.pid, self.folder = server, pid, folder
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self.server.ask(pid=self.pid)
        return self.returncode

    def communicate(self, timeout: float = 300) -> tuple[str, str]:
        """What it has said when it has ended. One that has not by then is killed: `subprocess.TimeoutExpired`."""
        ended = os.pidfd_open(self.pid) if self.returncode is None else None
        if ended is not None:
            in_time = select.select([ended], [], [], timeout)[0]
            os.close(ended)
            if not in_time:
                self.kill()
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
        while self.poll() is None:
            time.sleep(0.001)
        return self.said(), (self.folder / "err").read_text()

    def said(self) -> str:
        """What stands on its standard output by now."""
        return (self.folder / "out").read_text()

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Server:
    """Starts processes. They know the project as this process does, and see no more of the machine."""

    def __init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.processes"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, *command: str, env: Mapping[str, str], cwd: Path, folder: Path) -> Process:
        """`python COMMAND`, where that is `-m MODULE`, `-c CODE` or `SCRIPT` with arguments."""
        for name in SAID:
            (folder / name).touch()
        return Process(self, self.ask(command=command, env=dict(env), cwd=str(cwd), folder=str(folder)), folder)

    def ask(self, **question: object) -> int | None:
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        self.process.communicate()


def serve() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # where libraries say what they think of the machine
    import deepspeed  # noqa: F401
    import diffusers.models.modeling_utils  # noqa: F401
    import scipy.stats  # noqa: F401
    import torchmetrics  # noqa: F401

    running = set()
    for line in sys.stdin:
        question = json.loads(line)
        if "pid" in question:
            answer = code_of(**question)
            running -= {question["pid"]} if answer is not None else set()
        else:
            running.add(answer := fork(**question))
        print(json.dumps(answer), file=answers, flush=True)
    for process in running:  # whoever asked for them has gone
        os.kill(process, signal.SIGKILL)
    os._exit(0)


def code_of(pid: int) -> int | None:
    """The exit code of a process; None while it runs."""
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def fork(command: list[str], env: dict[str, str], cwd: str, folder: str) -> int:
    sys.stdout.flush(), sys.stderr.flush()
    if child := os.fork():
        return child
    code = 1
    try:
        streams = [os.open("/dev/null", os.O_RDONLY), *(os.open(Path(folder, name), os.O_WRONLY) for name in SAID)]
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        os.setsid()
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(env)
        tempfile.tempdir = None  # which the environment may say, and a library has asked for
        code = run(*command)
    finally:
        with suppress(BaseException):
            threading._shutdown()
            atexit._run_exitfuncs()
            sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)  # tidying the large libraries away takes longer than all else


def run(first: str, *rest: str) -> int:
    """What Python does with a command; the exit code."""
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    sys.argv[:] = rest if first in ("-m", "-c") else (first, *rest)
    script = Path(first)
    sys.path[0] = str(script if script.is_dir() else script.parent) if script.exists() else os.getcwd()
    try:
        if first == "-m":
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        elif first == "-c":
            main = sys.modules["__main__"] = ModuleType("__main__")
            exec(compile(rest[0], "<string>", "exec"), vars(main))
        else:
            runpy.run_path(first, run_name="__main__")
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    serve()
