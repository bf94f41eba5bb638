"""Checkpoints that a run resumes from: whole or not there at all.

A checkpoint is written beside its place, flushed, checksummed and renamed; only then does `latest` name it and
an older one go. Whatever moment the power fails, the newest complete one is found and verified. Its files are read
twice in their life: for their checksums, and when a run resumes from them.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import torch

from runtime import distributed
from runtime.errors import UserError
from runtime.files import flush, sha256, write_text

MANIFEST = "manifest.json"
STATE = "state.pt"
BEST = "best"
TORCH_WRITERS = ("PytorchStreamWriter", "inline_container", "file write failed")


class Stateful(Protocol):
    """What every process saves its share of: an engine."""

    def save(self, folder: Path) -> None: ...
    def load(self, folder: Path) -> None: ...


class Saver:
    """Writes a run's checkpoints to `root`, the newest `keep` and the best of which stay.

    `save` returns once weights and states are written; they are flushed, checksummed and put in their place by a
    thread of the main process while training goes on. All processes call `save` and `wait`.
    """

    def __init__(self, root: Path, keep: int) -> None:
        self.root, self.keep = root, keep
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self.unfinished: Future | None = None

    def save(self, step: int, engines: Mapping[str, Stateful], state: dict, best: bool = False) -> None:
        """Write `step_<step>` with one subfolder for each engine and the main process's `state`, after the one before.

        Raises `UserError` when the disk is full or fails, for this checkpoint or the one before; what was whole stays.
        """
        self.wait()
        place = self.root / f"step_{step:08}"
        partial = self.root / f".{place.name}.partial"
        with one_line_when_unwritable(partial):
            write_partial(partial, engines, state)
        if distributed.is_main():
            self.unfinished = self.thread.submit(finish, partial, place, self.keep, best)

    def wait(self) -> None:
        """Until the last checkpoint is in its place. Raises `UserError` on all processes when it cannot be."""
        distributed.on_main(self.join)

    def join(self) -> None:
        """The same on the main process alone, for a run that fails."""
        unfinished, self.unfinished = self.unfinished, None
        if unfinished:
            unfinished.result()


def finish(partial: Path, place: Path, keep: int, best: bool) -> None:
    """What may take its time: from here on nothing that trains is read."""
    with one_line_when_unwritable(partial):
        write_manifest(partial)
        put_in_place(partial, place, best)
        remove_older(place, keep)


@contextmanager
def one_line_when_unwritable(partial: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not any(name in str(error) for name in TORCH_WRITERS):
            raise
        shutil.rmtree(partial, ignore_errors=True)
        reason = getattr(error, "strerror", None) or "the disk is full or failing"
        raise UserError(
            f"no checkpoint could be written to {partial.parent} ({reason}); make room, or put it right otherwise, and "
            "give the same command again: the run continues from the checkpoint before"
        ) from error


def write_partial(partial: Path, engines: Mapping[str, Stateful], state: dict) -> None:
    if distributed.is_main():
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    distributed.barrier()
    for name, engine in engines.items():
        engine.save(partial / name)
    distributed.barrier()
    if distributed.is_main():
        torch.save(state, partial / STATE)


def put_in_place(partial: Path, place: Path, best: bool) -> None:
    shutil.rmtree(place, ignore_errors=True)
    partial.rename(place)
    flush(place.parent)
    write_text(place.parent / "latest", place.name + "\n")
    if best:
        write_text(place.parent / BEST, place.name + "\n")


def resume(root: Path, engines: Mapping[str, Stateful]) -> dict | None:
    """Load the newest complete checkpoint into `engines` and return its state; None where there is none.

    A damaged one is named on the console and the one before it is taken. Raises `UserError` when there are
    checkpoints and none is whole: a run never starts over silently.
    """
    place = distributed.on_main(lambda: newest_complete(root))
    if place is None:
        return None
    for name, engine in engines.items():
        engine.load(place / name)
    return torch.load(place / STATE, map_location="cpu", weights_only=True)


def newest_complete(root: Path) -> Path | None:
    candidates = sorted(root.glob("step_*"), reverse=True)
    for place in candidates:
        if (damage := find_damage(place)) is None:
            return place
        print(f"checkpoint {place.name} is damaged ({damage}); taking the one before it", flush=True)
    if candidates:
        raise UserError(f"no checkpoint in {root} is whole; remove the folder to start from the beginning")
    return None


def require_space(root: Path, size: int) -> None:
    """Raises `UserError` unless two checkpoints of `size` bytes fit, with what stands in `root` already."""
    root.mkdir(parents=True, exist_ok=True)
    there = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    free = shutil.disk_usage(root).free + there
    if free < 2 * size:
        raise UserError(
            f"two checkpoints of {size / 1e9:.2f} GB do not fit into the {free / 1e9:.2f} GB that {root} can hold; "
            "make room or choose another --run"
        )


def write_manifest(folder: Path) -> None:
    """Flush every file to disk, then record its size and SHA-256."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    entries = {}
    for path in files:
        flush(path)
        entries[str(path.relative_to(folder))] = {"bytes": path.stat().st_size, "sha256": sha256(path)}
    write_text(folder / MANIFEST, json.dumps(entries, indent=1))
    flush(folder / MANIFEST)
    flush(folder)


def find_damage(folder: Path) -> str | None:
    """The first thing that differs from the manifest, or None for a whole checkpoint."""
    try:
        entries = json.loads((folder / MANIFEST).read_text())
    except (OSError, json.JSONDecodeError):
        return f"{MANIFEST} is missing or unreadable"
    for name, entry in entries.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != entry["bytes"] or sha256(path) != entry["sha256"]:
            return f"{name} has changed"
    return None


def remove_older(newest: Path, keep: int) -> None:
    """Drop all but the last `keep` and the best."""
    root = newest.parent
    best = (root / BEST).read_text().strip() if (root / BEST).exists() else ""
    older = sorted(place for place in root.glob("step_*") if place.name < newest.name)
    for place in older[: max(len(older) + 1 - keep, 0)]:
        if place.name != best:
            shutil.rmtree(place)
