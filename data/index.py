"""What a data set's folder holds: its videos, inspected, with labels where there are any."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data import folder, ucf101
from data.config import OnBadFile
from data.folder import UNLABELLED
from data.survey import survey
from data.video import BadVideo, VideoInfo
from runtime.errors import UserError

__all__ = ["UNLABELLED", "Split", "VideoIndex", "open_index"]

Split = Literal["train", "test"]


@dataclass(frozen=True)
class VideoIndex:
    """The videos of one split, in the data set's own order.

    Attributes:
        names: paths relative to the data set, with forward slashes.
        labels: indices into `classes`, or `UNLABELLED`.
        bad: (name, reason) of the files left out.
    """

    videos: tuple[VideoInfo, ...]
    names: tuple[str, ...]
    labels: tuple[int, ...]
    classes: tuple[str, ...]
    bad: tuple[tuple[str, str], ...]

    @property
    def noted(self) -> tuple[tuple[str, str], ...]:
        """(name, problem) of the files that are used as far as they decode."""
        return tuple((n, info.problem) for n, info in zip(self.names, self.videos, strict=True) if info.problem)

    def report(self) -> str:
        """A line for each file with a problem, the files left out first; empty where all is well."""
        left_out = [f"left out: {name}: {reason}" for name, reason in self.bad]
        return "\n".join(left_out + [f"used in part: {name}: {problem}" for name, problem in self.noted])


def open_index(
    root: str | Path, split: Split, fold: int = 1, cache: Path | None = None, on_bad_file: OnBadFile = "skip"
) -> VideoIndex:
    """Index a folder: UCF-101 where it holds `UCF-101/` and `ucfTrainTestlist/`, any other folder with videos else.

    Every file is decoded once, in processes of its own; `cache`, a JSON file outside the data set, keeps what was
    found for the next time (see `data.survey`).

    Raises `UserError` for a missing folder, half a UCF-101, a folder without (readable) videos, and with
    `on_bad_file="error"` for any file that cannot be read.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"there is no folder {root}; give --data.root a folder with videos (make: DATA=...)")
    halves = [root / ucf101.VIDEOS, root / ucf101.LISTS]
    present = [half.is_dir() for half in halves]
    if any(present) and not all(present):
        missing = halves[present.index(False)]
        raise UserError(f"{root} holds half a UCF-101: {missing.name}/ is missing; download it from the official site")
    official = all(present)
    files, labels, classes = ucf101.read_split(root, split, fold) if official else folder.read_split(root, split)
    found = survey(halves[0] if official else root, files, cache)
    index = _build(files, labels, classes, found)
    if not index.videos:
        name, reason = index.bad[0]
        raise UserError(f"none of the {len(index.bad)} videos in {root} can be read; the first, {name}: {reason}")
    if index.bad and on_bad_file == "error":
        name, reason = index.bad[0]
        raise UserError(f"{len(index.bad)} files in {root} cannot be read; the first, {name}: {reason}")
    return index


def _build(
    files: Sequence[str], labels: Sequence[int], classes: Sequence[str], found: Sequence[VideoInfo | BadVideo]
) -> VideoIndex:
    good = [i for i, each in enumerate(found) if isinstance(each, VideoInfo)]
    return VideoIndex(
        tuple(found[i] for i in good),
        tuple(files[i] for i in good),
        tuple(labels[i] for i in good),
        tuple(classes),
        tuple((name, each.reason) for name, each in zip(files, found, strict=True) if isinstance(each, BadVideo)),
    )
