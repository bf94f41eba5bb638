"""The data set that a project is planned for: how many videos, how many clips of them, how many bytes."""

from dataclasses import dataclass
from pathlib import Path

from data.index import PackedIndex, open_index
from data.latents.clips import ClipChoice
from data.shards.files import Shard
from data.video.probe import VideoInfo
from runtime.errors import UserError

FPS = 25.0  # of videos that are known by their length alone


@dataclass(frozen=True)
class DataSet:
    """A training split.

    Attributes:
        clips: that are cached, and that an epoch of stage two sees.
        video_bytes: of one file, the mean.
    """

    videos: int
    clips: int
    video_bytes: float
    measured: bool

    @property
    def bytes(self) -> float:
        return self.videos * self.video_bytes


def by_number(clips: int, video_bytes: float) -> DataSet:
    """Of one clip a video."""
    return DataSet(clips, clips, video_bytes, measured=False)


def by_length(videos: int, seconds: float, choice: ClipChoice, video_bytes: float) -> DataSet:
    """Of videos that are all as long. Raises `UserError` for one without a frame."""
    if (frames := round(seconds * FPS)) < 1:
        raise UserError(f"a video of {seconds:g} seconds has no frame; --seconds is the length of one")
    video = VideoInfo(Path(), frames, FPS, 0, 0, b_frames=False, seekable_by=())
    return DataSet(videos, videos * choice.windows(video) * (1 + choice.flipped), video_bytes, measured=False)


def in_folder(root: Path, choice: ClipChoice, fold: int) -> DataSet:
    """Of what is there: every file is looked into once, as training does. Raises `UserError` as `open_index` does."""
    index = open_index(root, "train", fold)
    size = shards_bytes(index.shards) if isinstance(index, PackedIndex) else videos_bytes(index.videos)
    clips = sum(choice.table(index).clips)
    return DataSet(len(index.videos), clips, size / len(index.videos), measured=True)


def videos_bytes(videos: tuple[VideoInfo, ...]) -> int:
    return sum(video.path.stat().st_size for video in videos)


def shards_bytes(shards: tuple[Shard, ...]) -> int:
    """Raises `UserError` for shards that are elsewhere: what they hold is not known here."""
    paths = [Path(shard.url) for shard in shards]
    if missing := [path for path in paths if not path.is_file()]:
        raise UserError(f"{missing[0]} is not on this machine; give --videos and --seconds in place of --data")
    return sum(path.stat().st_size for path in paths)
