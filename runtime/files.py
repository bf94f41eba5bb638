"""Files that are whole or not there: written beside their place, renamed into it."""

import hashlib
import json
import os
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text)
    partial.replace(path)


def write_json(path: Path, content: object) -> None:
    write_text(path, json.dumps(content, indent=1) + "\n")


def write_whole(path: Path, content: bytes) -> None:
    """Beside its place, to the disk, and then into its place."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(content)
        flush(partial)
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def flush(path: Path) -> None:
    """Have the operating system put a file, or a folder's names, on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
