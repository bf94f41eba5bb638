"""What a data set's folder holds: its videos, inspected, with labels where there are any."""

from bisect import bisect_right
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from pathlib import Path

from data import folder, ucf101
from data.config import OnBadFile, Split
from data.folder import UNLABELLED
from data.shards.files import Shard, is_packed, read_list, read_records, read_shard_once
from data.survey import survey
from data.video.frames import BadVideo, VideoInfo
from runtime.errors import UserError

__all__ = ["UNLABELLED", "VideoIndex", "open_index"]


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

    @cached_property
    def scenes(self) -> dict[str, list[int]]:
        """The videos of each scene."""
        return folder.by_scene(self.names)

    def others_of_scene(self, i: int) -> list[int]:
        """The videos that show video i's scene and are not itself. Videos without a class are a scene each."""
        if self.labels[i] == UNLABELLED:
            return []
        return [j for j in self.scenes[folder.scene_of(self.names[i])] if self.names[j] != self.names[i]]

    def file(self, i: int) -> AbstractContextManager[VideoInfo]:
        """A video, with a path that can be read inside the `with`."""
        return nullcontext(self.videos[i])

    def sample(self, count: int) -> Sequence[int]:
        """At most so many videos, spread evenly."""
        return range(0, len(self.videos), max(len(self.videos) // count, 1))[:count]

    def report(self) -> str:
        """A line for each file with a problem, the files left out first; empty where all is well."""
        left_out = [f"left out: {name}: {reason}" for name, reason in self.bad]
        return "\n".join(left_out + [f"used in part: {name}: {problem}" for name, problem in self.noted])


@dataclass(frozen=True)
class PackedIndex(VideoIndex):
    """The videos of `shards`, which are read whole: going through them in order reads each shard once a process."""

    shards: tuple[Shard, ...]

    @cached_property
    def ends(self) -> list[int]:
        """The first video behind each shard's."""
        return list(accumulate(shard.videos for shard in self.shards))

    def file(self, i: int) -> AbstractContextManager[VideoInfo]:
        place = bisect_right(self.ends, i)
        shard = self.shards[place]
        found = read_shard_once(shard)[i - self.ends[place] + shard.videos]
        if (found.record.name, found.record.info) != (self.names[i], self.videos[i]):
            raise UserError(
                f"{shard.url} holds {found.record.name} where {self.names[i]} should be; is it of this set?"
            )
        return found.as_file()

    def sample(self, count: int) -> Sequence[int]:
        """The first, which come from few shards: videos are packed in a random order."""
        return range(len(self.videos))[:count]


def open_index(
    root: str | Path, split: Split, fold: int = 1, cache: Path | None = None, on_bad_file: OnBadFile = "skip"
) -> VideoIndex:
    """Index a folder: shards, UCF-101 where it holds `UCF-101/` and `ucfTrainTestlist/`, any other with videos else.

    What shards hold was found out when they were packed. Every other file is decoded once, in processes of its own;
    `cache`, a folder outside the data set, keeps what was found for the next time (see `data.survey`).

    Raises `UserError` for a missing folder, half a UCF-101, a folder without (readable) videos, and with
    `on_bad_file="error"` for any file that cannot be read.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"there is no folder {root}; give --data.root a folder with videos (make: DATA=...)")
    if is_packed(root):
        return _open_packed(root, split)
    home, files, labels, classes = list_split(root, split, fold)
    found = survey(home, files, cache)
    index = _build(files, labels, classes, found)
    if not index.videos:
        name, reason = index.bad[0]
        raise UserError(f"none of the {len(index.bad)} videos in {root} can be read; the first, {name}: {reason}")
    if index.bad and on_bad_file == "error":
        name, reason = index.bad[0]
        raise UserError(f"{len(index.bad)} files in {root} cannot be read; the first, {name}: {reason}")
    return index


def list_split(root: Path, split: Split, fold: int) -> tuple[Path, list[str], list[int], list[str]]:
    """A split of UCF-101 or of any folder of videos, none of which is opened: their home, files, labels, class names.

    Raises `UserError` for half a UCF-101, lists that cannot be read, and a folder without videos.
    """
    halves = [root / ucf101.VIDEOS, root / ucf101.LISTS]
    present = [half.is_dir() for half in halves]
    if any(present) and not all(present):
        missing = halves[present.index(False)]
        raise UserError(f"{root} holds half a UCF-101: {missing.name}/ is missing; download it from the official site")
    return (
        (halves[0], *ucf101.read_split(root, split, fold)) if all(present) else (root, *folder.read_split(root, split))
    )


def join(index: VideoIndex, others: Sequence[VideoIndex], times: int) -> VideoIndex:
    """The videos of `index`, and then those of `others`, each so many times over and without a class.

    Raises `UserError` for shards, which are read in an order of their own.
    """
    if any(isinstance(each, PackedIndex) for each in (index, *others)):
        raise UserError("--data.also joins folders of videos, not shards; pack one folder that holds them all")
    added = [each for each in others for _ in range(times)]
    return replace(
        index,
        videos=sum((each.videos for each in added), index.videos),
        names=sum((each.names for each in added), index.names),
        labels=(*index.labels, *(UNLABELLED for each in added for _ in each.videos)),
        bad=sum((each.bad for each in others), index.bad),
    )


def _open_packed(root: Path, split: Split) -> PackedIndex:
    packed, records = read_list(root, split), read_records(root, split)
    if (listed := sum(shard.videos for shard in packed.shards)) != len(records):
        raise UserError(f"the {split} shards in {root} hold {listed} videos, their records are of {len(records)}")
    return PackedIndex(
        tuple(record.info for record in records),
        tuple(record.name for record in records),
        tuple(record.label for record in records),
        packed.classes,
        (),
        packed.shards,
    )


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
