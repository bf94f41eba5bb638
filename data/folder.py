"""Any folder of videos, labelled by its sub-folders where every video lies in one."""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from runtime.errors import UserError

SUFFIXES = {".avi", ".mp4", ".mkv", ".webm", ".mov", ".m4v"}
HELD_OUT_EVERY = 10
UNLABELLED = -1


def find_videos(root: Path) -> list[str]:
    """Names of all video files below `root`, sorted, with forward slashes."""
    files = (path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)
    return sorted(path.relative_to(root).as_posix() for path in files if not path.name.startswith("."))


def read_split(root: Path, split: str) -> tuple[list[str], list[int], list[str]]:
    """Files, labels and class names; every tenth scene is held out for `test`, beginning with the first.

    A single scene serves both splits. Raises `UserError` for a folder without videos.
    """
    files = find_videos(root)
    if not files:
        raise UserError(f"{root} holds no videos ({', '.join(sorted(SUFFIXES))})")
    classes = class_names(files)
    scenes = list(dict.fromkeys(map(scene_of, files)))
    held_out = set(scenes[::HELD_OUT_EVERY])
    chosen = [file for file in files if len(scenes) == 1 or (scene_of(file) in held_out) == (split == "test")]
    labels = [classes.index(file.split("/")[0]) if classes else UNLABELLED for file in chosen]
    return chosen, labels, classes


def scene_of(file: str) -> str:
    """What videos of one scene have in common: UCF-101's groups, in names such as `v_YoYo_g09_c01.avi`, show one each.

    Any other video is a scene of its own.
    """
    return re.sub(r"(_g\d+)_c\d+\.\w+$", r"\1", file)


def by_scene(files: Sequence[str]) -> dict[str, list[int]]:
    """Places in `files` of the videos of each scene."""
    found = defaultdict(list)
    for i, file in enumerate(files):
        found[scene_of(file)].append(i)
    return found


def class_names(files: Sequence[str]) -> list[str]:
    """The outermost folders of `files`, sorted; none where a file lies in no folder."""
    return sorted({file.split("/")[0] for file in files}) if all("/" in file for file in files) else []
