"""A data set as WebDataset shards: tar files of videos that are read from their first byte to their last.

    python -m data.shards pack DIR OUT

writes `OUT/<split>-<number>.tar`, in which `00000012.json` tells about the video `00000012.avi` beside it, and
`OUT/<split>.json`, which lists the shards. A list's shards may be paths beside it or addresses; those need the
`webdataset` package. Addresses that are shell commands (`pipe:`) are refused unless `WDS_SECURE=0` allows them.
"""

import argparse
import io
import json
import os
import re
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, get_args

from data.folder import SUFFIXES
from data.index import Split, VideoIndex, open_index
from data.inspector import from_json, to_json
from data.probe import VideoInfo
from runtime.errors import UserError
from runtime.files import write_json
from runtime.progress import track
from runtime.script import script

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
class Sample:
    """A video in a shard: its place in the data set, and the file's bytes."""

    number: int
    name: str
    label: int
    info: VideoInfo
    content: bytes


def pack(root: Path, out: Path, split: Split, fold: int, videos_per_shard: int) -> ShardList:
    """Write the shards of a split, and their list last. The same data set gives the same bytes."""
    index = open_index(root, split, fold)
    out.mkdir(parents=True, exist_ok=True)
    starts = range(0, len(index.videos), videos_per_shard)
    shards = []
    for number, start in enumerate(track(starts, len(starts), f"packing {split}", "shards")):
        places = range(start, min(start + videos_per_shard, len(index.videos)))
        name = f"{split}-{number:06}.tar"
        partial = out / f".{name}.partial"
        with tarfile.open(partial, "w") as tar:
            for i in places:
                _add(tar, index, i)
        partial.replace(out / name)
        shards.append({"url": name, "videos": len(places)})
    write_json(out / f"{split}.json", {"classes": index.classes, "shards": shards})
    return read_list(out, split)


def read_list(folder: Path, split: Split) -> ShardList:
    """The list that `pack` wrote. Raises `UserError` if it is missing, damaged, or names a shell command."""
    path = folder / f"{split}.json"
    try:
        content = json.loads(path.read_text())
        shards = tuple(Shard(_place(folder, each["url"]), int(each["videos"])) for each in content["shards"])
        return ShardList(shards, tuple(content["classes"]))
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; python -m data.shards pack writes it") from error
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise UserError(f"{path} is not a list of shards; pack the data set again") from error


def read_shard(shard: Shard) -> list[Sample]:
    """All videos of a shard. Raises `UserError` if it is damaged or holds anything but records and their videos."""
    samples, members = [], _members(shard.url)
    for key, suffix, content in members:
        record = _record(shard.url, content) if suffix == "json" else None
        video = next(members, None)
        if record is None or video is None or video[0] != key or video[1] == "json":
            raise UserError(f"{shard.url}: {key} is not a record followed by its video")
        info = from_json(Path(record["name"]), record["video"])
        samples.append(Sample(int(key), record["name"], record["label"], info, video[2]))
    if len(samples) != shard.videos:
        raise UserError(f"{shard.url} holds {len(samples)} videos, its list says {shard.videos}")
    return samples


def _add(tar: tarfile.TarFile, index: VideoIndex, i: int) -> None:
    info = index.videos[i]
    record = {"name": index.names[i], "label": index.labels[i], "video": to_json(info)}
    for suffix, content in ((".json", json.dumps(record).encode()), (info.path.suffix.lower(), info.path.read_bytes())):
        member = tarfile.TarInfo(f"{i:08}{suffix}")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))


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
    if "://" not in url and not url.startswith("pipe:"):
        return open(url, "rb")
    try:
        from webdataset.gopen import gopen
    except ImportError as error:
        raise UserError(f"{url} is no path of a file; reading it needs the webdataset package") from error
    return gopen(url)


def _place(folder: Path, url: str) -> str:
    if url.startswith("pipe:") and os.environ.get("WDS_SECURE") != "0":
        raise UserError(f"{folder} names the shell command {url[5:]!r} as a shard; WDS_SECURE=0 would run it")
    return url if "://" in url or url.startswith("pipe:") else str(folder / url)


def _record(url: str, content: bytes) -> dict:
    try:
        record = json.loads(content)
        valid = {"name": str, "label": int, "video": dict}
        if all(isinstance(record[key], kind) for key, kind in valid.items()):
            from_json(Path(), record["video"])
            return record
    except (ValueError, KeyError, TypeError):
        pass
    raise UserError(f"{url} holds a damaged record; pack the data set again")


@script
def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="data.shards", description="Pack a data set into WebDataset shards.")
    parser.add_argument("command", choices=["pack"])
    parser.add_argument("root", type=Path, metavar="DIR", help="UCF-101, or any folder of videos")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--fold", type=int, default=1)
    parser.add_argument("--videos-per-shard", type=int, default=100, metavar="N")
    args = parser.parse_args(argv)
    if args.videos_per_shard < 1:
        raise UserError("a shard holds at least one video")
    for split in get_args(Split):
        packed = pack(args.root, args.out, split, args.fold, args.videos_per_shard)
        videos = sum(shard.videos for shard in packed.shards)
        print(f"{args.out}: {split}: {videos} videos in {len(packed.shards)} shards")


if __name__ == "__main__":
    sys.exit(main())
