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
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import IO

from data.config import Split
from data.folder import SUFFIXES
from data.inspector import from_json
from data.probe import VideoInfo
from runtime.errors import UserError

MEMBER = re.compile(r"(\d{8})\.(json|" + "|".join(sorted(suffix[1:] for suffix in SUFFIXES)) + ")")
LARGEST_RECORD = 1 << 16  # bytes


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
    """A video of a shard: its place in the split, its record, and the file's bytes."""

    number: int
    record: Record
    content: bytes

    @contextmanager
    def as_file(self) -> Iterator[VideoInfo]:
        """The video as a file that lives in memory."""
        handle = os.memfd_create(Path(self.record.name).name)
        with os.fdopen(handle, "wb") as file:
            file.write(self.content)
            file.flush()
            yield replace(self.record.info, path=Path(f"/proc/{os.getpid()}/fd/{handle}"))


def list_path(folder: Path, split: Split) -> Path:
    return folder / f"{split}.shards.json"


def records_path(folder: Path, split: Split) -> Path:
    return folder / f"{split}.videos.json"


def is_packed(folder: str | Path) -> bool:
    """Whether the folder holds shards rather than videos."""
    return list_path(Path(folder), "train").is_file()


def read_list(folder: Path, split: Split) -> ShardList:
    """Raises `UserError` if the list is missing, damaged, or names a shell command."""
    path = list_path(folder, split)
    content = _read_json(path)
    try:
        shards = tuple(Shard(_place(folder, each["url"]), each["videos"]) for each in content["shards"])
        return ShardList(shards, tuple(content["classes"]))
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} is not a list of shards; pack the data set again") from error


def read_records(folder: Path, split: Split) -> list[Record]:
    """What the shards of a split hold, in their order. Raises `UserError` if that is missing or damaged."""
    path = records_path(folder, split)
    return [as_record(str(path), each) for each in _read_json(path)["videos"]]


def read_shard(shard: Shard) -> list[Sample]:
    """All videos of a shard. Raises `UserError` if it is damaged or holds anything but records and their videos."""
    samples, members = [], _members(shard.url)
    for key, suffix, content in members:
        record = _read_record(shard.url, content) if suffix == "json" else None
        video = next(members, None)
        if record is None or video is None or video[0] != key or video[1] == "json":
            raise UserError(f"{shard.url}: {key} is not a record followed by its video")
        samples.append(Sample(int(key), record, video[2]))
    if len(samples) != shard.videos:
        raise UserError(f"{shard.url} holds {len(samples)} videos, its list says {shard.videos}")
    return samples


@lru_cache(maxsize=2)  # shards; those who go through them in order share one, or are between two
def read_shard_once(shard: Shard) -> list[Sample]:
    """`read_shard` for those who come back for the next video of the same shard."""
    return read_shard(shard)


def as_record(source: str, content: dict) -> Record:
    """Raises `UserError` if `content`, which comes from `source`, is no record of a video."""
    try:
        valid = {"name": str, "label": int, "video": dict}
        if all(isinstance(content[key], kind) for key, kind in valid.items()):
            return Record(content["name"], content["label"], from_json(Path(content["name"]), content["video"]))
    except (KeyError, TypeError):
        pass
    raise UserError(f"{source} holds a damaged record; pack the data set again")


def _read_json(path: Path) -> dict:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; python -m data.shards pack writes it") from error
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is damaged; pack the data set again") from error


def _read_record(url: str, content: bytes) -> Record:
    try:
        fields = json.loads(content)
    except ValueError:
        fields = {}
    return as_record(url, fields)


def _members(url: str) -> Iterator[tuple[str, str, bytes]]:
    """Key, suffix and content of each member, all of them plain files with the names that `pack` gives."""
    try:
        with _opened(url) as file, tarfile.open(fileobj=file, mode="r|") as tar:
            for member in tar:
                name = MEMBER.fullmatch(member.name)
                if not (name and member.isreg()):
                    raise UserError(f"{url} holds {member.name!r}, which is no video or record of a shard")
                if name[2] == "json" and member.size > LARGEST_RECORD:
                    raise UserError(f"{url}: the record {member.name} has {member.size} bytes")
                yield name[1], name[2], tar.extractfile(member).read()
    except (tarfile.TarError, OSError) as error:
        raise UserError(f"{url} is missing or damaged ({error})") from error


def _opened(url: str) -> IO[bytes]:
    if not _is_address(url):
        return open(url, "rb")
    try:
        from webdataset.gopen import gopen
    except ImportError as error:
        raise UserError(
            f"{url} is no path of a file; reading it needs the webdataset package (pip install webdataset)"
        ) from error
    try:
        return gopen(url)
    except ValueError as error:
        raise UserError(f"{url} is an address of no known kind") from error


def _is_address(url: str) -> bool:
    return "://" in url or url.startswith("pipe:")


def _place(folder: Path, url: str) -> str:
    if url.startswith("pipe:") and os.environ.get("WDS_SECURE") != "0":
        raise UserError(f"{folder} names the shell command {url[5:]!r} as a shard; WDS_SECURE=0 would run it")
    return url if _is_address(url) else str(folder / url)
