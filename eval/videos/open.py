"""What a path holds, as a source of videos."""

from pathlib import Path

from data import ucf101
from data.config import Split
from data.folder import UNLABELLED, find_videos
from data.index import VideoIndex, open_index
from data.shards.files import is_packed
from data.survey import survey
from data.video.frames import BadVideo, VideoInfo
from eval.videos.arrays import ArraySource
from eval.videos.files import FileSource
from eval.videos.window import Window
from generator.samples import SAMPLES
from runtime.errors import UserError


def open_source(
    path: Path, window: Window, split: Split = "train", fold: int = 1, cache: Path | None = None
) -> ArraySource | FileSource:
    """An array file, a folder with `samples.safetensors`, UCF-101 or shards (their `split`), or any folder of videos.

    `cache` keeps what was found in files (see `data.survey`).

    Raises:
        UserError: nothing of the kind.
    """
    if path.is_file():
        return ArraySource(path, window)
    if not path.is_dir():
        raise UserError(f"there is no file or folder {path}")
    if (path / SAMPLES).is_file():
        return ArraySource(path / SAMPLES, window)
    if is_ucf101(path):
        return FileSource(open_index(path, split, fold, cache), window, f"UCF-101 {split}list{fold:02}")
    if is_packed(path):
        return FileSource(open_index(path, split), window)
    return FileSource(index_folder(path, cache), window)


def is_ucf101(path: Path) -> bool:
    return (path / ucf101.VIDEOS).is_dir() and (path / ucf101.LISTS).is_dir()


def index_folder(path: Path, cache: Path | None) -> VideoIndex:
    """Every video file below a folder, where training would hold some out. Raises `UserError` where there is none."""
    names = find_videos(path)
    found = list(zip(names, survey(path, names, cache), strict=True))
    good = [(name, each) for name, each in found if isinstance(each, VideoInfo)]
    bad = tuple((name, each.reason) for name, each in found if isinstance(each, BadVideo))
    if not good:
        first = f"; the first of {len(bad)}, {bad[0][0]}, {bad[0][1]}" if bad else ""
        raise UserError(f"{path} holds no videos that can be read, and no {SAMPLES}{first}")
    return VideoIndex(
        tuple(info for _, info in good), tuple(name for name, _ in good), (UNLABELLED,) * len(good), (), bad
    )
