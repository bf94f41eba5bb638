"""WebDataset shards: tar files of videos that are read from their first byte to their last.

A folder of them, which `python -m data.shards pack` writes, holds for each split

    train-000000.tar      00000012.json tells about the video 00000012.avi beside it
    train.videos.json     what the shards hold, in their order
    train.shards.json     the list of shards: the mark of a complete split

A list's shards may be paths beside it or addresses; those need the `webdataset` package. Addresses that are shell
commands (`pipe:`) are refused unless `WDS_SECURE=0` allows them.
"""

import json
import os
import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import IO, TypeVar

from data.config import Split
from data.folder import SUFFIXES
from data.video.inspector import from_json
from data.video.probe import BadVideo, VideoInfo
from runtime.errors import UserError

MEMBER = re.compile(r"(\d{8})\.(json|" + "|".join(sorted(suffix[1:] for suffix in SUFFIXES)) + ")")
ADDRESS = re.compile(r"[a-z][a-z0-9]*://\S+")
PIPE = "pipe:"
LARGEST_RECORD = 1 << 16  # bytes

Value = TypeVar("Value")


@dataclass(frozen=True)
class Shard:
    """A tar file, by path or address, and how many videos it holds."""

    url: str
    videos: int


@dataclass(frozen=True)
class ShardList:
    """The shards of one split."""

    shards: tuple[Shard, ...]
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Record:
    """A video in a shard: its file's name and label in the data set, and what is in it."""

    name: str
    label: int
    info: VideoInfo


@dataclass(frozen=True)
class Sample:
    """A video of a shard: its record, and the file's bytes."""

    record: Record
    content: bytes

    @contextmanager
    def as_file(self) -> Iterator[VideoInfo]:
        """The video as a file that lives in memory; a `BadVideo` inside the `with` bears its name in the data set."""
        handle = os.memfd_create("video")
        with os.fdopen(handle, "wb") as file:
            file.write(self.content)
            file.flush()
            try:
                yield replace(self.record.info, path=Path(f"/proc/{os.getpid()}/fd/{handle}"))
            except BadVideo as error:
                raise BadVideo(Path(self.record.name), error.reason) from error


def list_path(folder: Path, split: Split) -> Path:
    return folder / f"{split}.shards.json"


def records_path(folder: Path, split: Split) -> Path:
    return folder / f"{split}.videos.json"


def is_packed(folder: str | Path) -> bool:
    """Whether the folder holds shards rather than videos, all of them or some."""
    return any(path(Path(folder), "train").is_file() for path in (records_path, list_path))


def read_list(folder: Path, split: Split) -> ShardList:
    """Raises `UserError` if the list is missing, damaged, or names a shell command."""
    path = list_path(folder, split)
    content = _read_json(path)
    with _damage(f"{path} is not a list of shards"):
        shards = tuple(
            Shard(_place(folder, _as(str, each["url"])), _as(int, each["videos"])) for each in content["shards"]
        )
        if any(shard.videos < 1 for shard in shards):
            raise TypeError("a shard holds videos")
        return ShardList(shards, tuple(content["classes"]))


def read_records(folder: Path, split: Split) -> list[Record]:
    """What the shards of a split hold, in their order. Raises `UserError` if that is missing or damaged."""
    path = records_path(folder, split)
    content = _read_json(path)
    with _damage(f"{path} is damaged"):
        return [_as_record(each) for each in content["videos"]]


def read_shard(shard: Shard) -> list[Sample]:
    """All videos of a shard. Raises `UserError` if it is damaged or holds anything but records and their videos."""
    samples, members = [], _members(shard.url)
    for key, suffix, content in members:
        with _damage(f"{shard.url} holds a damaged record"):
            record = _as_record(json.loads(content)) if suffix == "json" else None
        video = next(members, None)
        if record is None or video is None or video[0] != key or video[1] == "json":
            raise UserError(f"{shard.url}: {key} is not a record followed by its video")
        samples.append(Sample(record, video[2]))
    if len(samples) != shard.videos:
        raise UserError(f"{shard.url} holds {len(samples)} videos, its list says {shard.videos}")
    return samples


def read_shard_once(shard: Shard) -> list[Sample]:
    """`read_shard` for those, of any thread, who come back for the next video of the same shard or the one before."""
    with _one_reader:
        return _read_and_keep(shard)


_one_reader = Lock()
_read_and_keep = lru_cache(maxsize=2)(read_shard)


def _as_record(content: dict) -> Record:
    name, info = _as(str, content["name"]), from_json(Path(content["name"]), content["video"])
    for field in fields(VideoInfo):
        if field.type in (int, float, bool, str):
            _as(field.type, getattr(info, field.name))
    if min(info.frames, info.fps, info.height, info.width) <= 0:
        raise TypeError(f"{name} has no frames")
    return Record(name, _as(int, content["label"]), info)


def _as(kind: type[Value], value: object) -> Value:
    if not isinstance(value, kind):
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value


@contextmanager
def _damage(what: str) -> Iterator[None]:
    """What is not as `pack` writes it ends the run with a line."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{what}; pack the data set again") from error


def _read_json(path: Path) -> dict:
    with _damage(f"{path} is damaged"):
        try:
            return json.loads(path.read_bytes())
        except FileNotFoundError as error:
            raise UserError(f"{path} is missing; python -m data.shards pack writes it") from error
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error.strerror})") from error


def _members(url: str) -> Iterator[tuple[str, str, bytes]]:
    """Key, suffix and content of each member, all of them plain files with the names that `pack` gives."""
    try:
        with _opened(url) as file, tarfile.open(fileobj=file, mode="r|") as tar:
            for member in tar:
                name = MEMBER.fullmatch(member.name)
                if not (name and member.isreg() and not member.issparse()):
                    raise UserError(f"{url} holds {member.name!r}, which is no video or record of a shard")
                if name[2] == "json" and member.size > LARGEST_RECORD:
                    raise UserError(f"{url}: the record {member.name} has {member.size} bytes")
                yield name[1], name[2], tar.extractfile(member).read()
    except (tarfile.TarError, OSError) as error:
        raise UserError(f"{url} is missing or damaged ({error})") from error


def _opened(url: str) -> IO[bytes]:
    if not (ADDRESS.fullmatch(url) or url.startswith(PIPE)):
        return open(url, "rb")
    try:
        from webdataset.gopen import gopen

        return gopen(url)
    except ImportError as error:
        raise UserError(
            f"{url} is no path of a file; reading it needs the webdataset package (pip install webdataset)"
        ) from error
    except ValueError as error:
        raise UserError(f"{url} cannot be opened ({error})") from error


def _place(folder: Path, url: str) -> str:
    """A path below `folder`, or an address. Nothing but `pipe:`, spelt so, may be taken for a command."""
    if url.startswith(PIPE):
        if os.environ.get("WDS_SECURE") != "0":
            raise UserError(f"{folder} names the shell command {url[5:]!r} as a shard; WDS_SECURE=0 would run it")
        return url
    if ":" not in url:
        return str(folder / url)
    if ADDRESS.fullmatch(url):
        return url
    raise UserError(f"{folder} names {url!r} as a shard, which is neither a path nor an address such as https://...")
