"""What a data set's folder holds: its videos, probed, with labels where there are any."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data import folder, ucf101
from data.video import BadVideo, VideoInfo, probe
from runtime.errors import UserError

Split = Literal["train", "test"]
UNLABELLED = -1


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


def open_index(root: str | Path, split: Split, fold: int = 1) -> VideoIndex:
    """Index a folder: UCF-101 where it holds `UCF-101/` and `ucfTrainTestlist/`, any other folder with videos else.

    Raises `UserError` for a missing folder, half a UCF-101, or a folder without (readable) videos.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"there is no folder {root}; give --data.root a folder with videos (make: DATA=...)")
    halves = [root / ucf101.VIDEOS, root / ucf101.LISTS]
    present = [half.is_dir() for half in halves]
    if all(present):
        files, labels, classes = ucf101.read_split(root, split, fold)
        return _probe_all(halves[0], files, labels, classes)
    if any(present):
        missing = halves[present.index(False)]
        raise UserError(f"{root} holds half a UCF-101: {missing.name}/ is missing; download it from the official site")
    files = folder.read_split(root, split)
    return _probe_all(root, files, [UNLABELLED] * len(files), ())


def _probe_all(root: Path, files: Sequence[str], labels: Sequence[int], classes: Sequence[str]) -> VideoIndex:
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda name: _probe(root / name), files))
    good = [i for i, each in enumerate(found) if isinstance(each, VideoInfo)]
    bad = [(files[i], each) for i, each in enumerate(found) if isinstance(each, str)]
    if not good:
        name, reason = bad[0]
        raise UserError(f"none of the {len(bad)} videos in {root} can be read; the first, {name}: {reason}")
    return VideoIndex(
        tuple(found[i] for i in good),
        tuple(files[i] for i in good),
        tuple(labels[i] for i in good),
        tuple(classes),
        tuple(bad),
    )


def _probe(path: Path) -> VideoInfo | str:
    try:
        return probe(path)
    except BadVideo as error:
        return error.reason
