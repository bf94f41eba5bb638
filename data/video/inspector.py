"""Looks into video files in processes of their own, so that no file can crash or hold up the run.

`python -m data.video.inspector` is such a process: a line with a path in, a line with what was found out, both JSON.
"""

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue

from data.video.probe import BadVideo, VideoInfo, probe, verify

READY = "ready\n"
LEAST_TIME, TIME_PER_MEGABYTE = 30.0, 1.0  # seconds; decoding takes a tenth of this on a slow core


class Inspector:
    """A process that inspects one file after the other, started anew when one has ended it."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None

    def inspect(self, path: Path) -> VideoInfo | BadVideo:
        """What `verify` finds, or why the file cannot be read: its damage, a crash, or too long a time."""
        if self.process is None:
            self.process = _start()
        try:
            self.process.stdin.write(json.dumps(str(path)) + "\n")
            self.process.stdin.flush()
            limit = time_limit(path)
            if not select.select([self.process.stdout], [], [], limit)[0]:
                self.close()
                return Unfinished(path, f"is not read within {limit:.0f} seconds")
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            self.close()
            return Unfinished(path, "crashes the decoder")
        found = json.loads(answer)
        return BadVideo(path, found["reason"]) if "reason" in found else from_json(path, found)

    def kill(self) -> None:
        """End its process; whoever waits for an answer gets none."""
        if process := self.process:
            process.kill()

    def close(self) -> None:
        if self.process:
            self.process.kill()
            self.process.communicate()
        self.process = None


class Unfinished(BadVideo):
    """No verdict on the file: its inspection did not come to an end. Another time it may."""


def inspect_all(paths: Sequence[Path]) -> Iterator[VideoInfo | BadVideo]:
    """`verify` each file, in order, on all cores."""
    inspectors = [Inspector() for _ in range(min(len(paths), os.cpu_count() or 1))]
    idle: SimpleQueue[Inspector] = SimpleQueue()
    for inspector in inspectors:
        idle.put(inspector)

    def inspect(path: Path) -> VideoInfo | BadVideo:
        inspector = idle.get()
        try:
            return inspector.inspect(path)
        finally:
            idle.put(inspector)

    pool = ThreadPoolExecutor(max(len(inspectors), 1))
    try:
        yield from pool.map(inspect, paths)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for inspector in inspectors:
            inspector.kill()
        pool.shutdown()
        for inspector in inspectors:
            inspector.close()


def time_limit(path: Path) -> float:
    """Seconds after which a file is given up."""
    try:
        return LEAST_TIME + TIME_PER_MEGABYTE * path.stat().st_size / 1e6
    except OSError:
        return LEAST_TIME


def to_json(info: VideoInfo) -> dict[str, object]:
    return {key: value for key, value in asdict(info).items() if key != "path"}


def from_json(path: Path, fields: dict[str, object]) -> VideoInfo:
    return VideoInfo(path, **{**fields, "seekable_by": tuple(fields["seekable_by"])})


def _start() -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "data.video.inspector"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        start_new_session=True,  # an interrupt is for the run, which then ends it
    )
    if process.stdout.readline() != READY:  # else every file would seem to crash it
        raise RuntimeError(f"{' '.join(process.args)} does not start")
    return process


def _answer(path: Path) -> dict[str, object]:
    try:
        return to_json(verify(probe(path)))
    except BadVideo as error:
        return {"reason": error.reason}


if __name__ == "__main__":
    print(READY, end="", flush=True)
    for line in sys.stdin:
        print(json.dumps(_answer(Path(json.loads(line)))), flush=True)
