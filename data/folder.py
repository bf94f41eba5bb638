"""Any folder of videos, unlabelled."""

from pathlib import Path

from runtime.errors import UserError

SUFFIXES = {".avi", ".mp4", ".mkv", ".webm", ".mov", ".m4v"}
HELD_OUT_EVERY = 10


def find_videos(root: Path) -> list[str]:
    """Names of all video files below `root`, sorted, with forward slashes."""
    files = (path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)
    return sorted(path.relative_to(root).as_posix() for path in files if not path.name.startswith("."))


def read_split(root: Path, split: str) -> list[str]:
    """Every tenth video is held out for `test`, beginning with the first; a single one serves both splits.

    Raises `UserError` for a folder without videos.
    """
    files = find_videos(root)
    if not files:
        raise UserError(f"{root} holds no videos ({', '.join(sorted(SUFFIXES))})")
    held_out = files[::HELD_OUT_EVERY]
    if split == "test" or len(files) == 1:
        return held_out
    return [file for file in files if file not in set(held_out)]
