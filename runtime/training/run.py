"""A run's folder: its resolved configuration, its environment, and the lock that keeps a second run out."""

import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO

import torch

from runtime import config, distributed
from runtime.files import write_json, write_text
from runtime.lock import lock

PACKAGES = ("vidtwin", "torch", "deepspeed", "diffusers", "decord", "av", "torchmetrics", "lpips")


class RunFolder:
    """`runs/<name>/` with the places that every run has.

    The main process holds its lock inside a `with`. Raises `UserError` when another process holds it.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.checkpoints = self.folder / "checkpoints"
        self.averages = self.folder / "averages"
        self.weights = self.folder / "weights"
        self.videos = self.folder / "videos"
        self.lock: IO[str] | None = None

    def __enter__(self) -> "RunFolder":
        if distributed.is_main():
            self.folder.mkdir(parents=True, exist_ok=True)
            self.lock = lock(self.folder / ".lock")
        return self

    def __exit__(self, *_: object) -> None:
        if self.lock:
            self.lock.close()

    def describe(self, settings: object) -> None:
        """Write `config.yaml` and `environment.json`."""
        if distributed.is_main():
            write_text(self.folder / "config.yaml", config.dump(settings))
            write_json(self.folder / "environment.json", environment())


def environment() -> dict[str, object]:
    """Commit, versions and devices, for whoever reads the figures later."""
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "commit": commit(),
        "command": sys.argv,
        "python": platform.python_version(),
        "packages": {name: installed for name in PACKAGES if (installed := package_version(name))},
        "devices": gpus or [f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"],
        "world_size": distributed.world_size(),
    }


def commit() -> str:
    place = Path(__file__).parent
    answer = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=40"],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
    )
    return answer.stdout.strip() or "unknown"


def package_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
