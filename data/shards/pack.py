"""Pack a data set into WebDataset shards, for sets beyond one disk.

    python -m data.shards pack DIR OUT

`--data.root OUT` then reads them (see `data.shards.files` for what OUT holds). Packing goes on where it was
interrupted.
"""

import argparse
import io
import json
import sys
import tarfile
from pathlib import Path
from typing import get_args

import torch

from data.config import Split
from data.index import open_index
from data.shards.files import ShardList, is_packed, list_path, read_list, records_path
from data.video.inspector import to_json
from runtime.errors import UserError
from runtime.files import write_text
from runtime.lock import lock
from runtime.options import OptionParser
from runtime.progress import track
from runtime.random import generator
from runtime.script import script

Video = tuple[dict[str, object], Path]  # its record and its file


def pack(root: Path, out: Path, split: Split, fold: int, videos_per_shard: int) -> ShardList:
    """Write the shards of a split, and their list last. The same data set gives the same bytes.

    The videos are packed in a random order, so that each shard is a sample of the set. A split that is listed stays as
    it is. Raises `UserError` when `out` holds other shards.
    """
    index = open_index(root, split, fold, cache=out)
    print(index.report() or f"{root}: {split}: every video can be read", flush=True)
    order = torch.randperm(len(index.videos), generator=generator("pack")).tolist()
    records = [{"name": index.names[i], "label": index.labels[i], "video": to_json(index.videos[i])} for i in order]
    begin(records_path(out, split), json.dumps({"videos_per_shard": videos_per_shard, "videos": records}) + "\n")
    if not list_path(out, split).is_file():
        paths = [index.videos[i].path for i in order]
        shards = write_shards(out, split, list(zip(records, paths, strict=True)), videos_per_shard)
        write_text(list_path(out, split), json.dumps({"classes": index.classes, "shards": shards}) + "\n")
    return read_list(out, split)


def begin(path: Path, text: str) -> None:
    """Write down what will be packed. Raises `UserError` where something else was."""
    if path.exists() and path.read_text() != text:
        raise UserError(
            f"{path.parent} holds other shards, or those of a data set that has changed; give another folder, or "
            "remove it first"
        )
    write_text(path, text)


def write_shards(out: Path, split: Split, videos: list[Video], videos_per_shard: int) -> list[dict[str, object]]:
    """The shards that are not there yet; returns what the list says of all."""
    starts, listed = range(0, len(videos), videos_per_shard), []
    for number, start in enumerate(track(starts, len(starts), f"packing {split}", "shards")):
        held, name = videos[start : start + videos_per_shard], f"{split}-{number:06}.tar"
        if not (out / name).is_file():
            write_shard(out / name, start, held)
        listed.append({"url": name, "videos": len(held)})
    return listed


def write_shard(path: Path, first: int, videos: list[Video]) -> None:
    """A tar of records, each followed by its video, numbered from `first` on."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with tarfile.open(partial, "w") as tar:
            for number, (record, video) in enumerate(videos, first):
                for suffix, content in ((".json", json.dumps(record).encode()), (video.suffix.lower(), read(video))):
                    member = tarfile.TarInfo(f"{number:08}{suffix}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read(video: Path) -> bytes:
    try:
        return video.read_bytes()
    except OSError as error:
        raise UserError(f"{video} can no longer be read ({error.strerror}); it could be when it was indexed") from error


@script
def main(argv: list[str]) -> None:
    parser = OptionParser(prog="data.shards", description="Pack a data set into WebDataset shards.")
    parser.add_argument("command", choices=["pack"])
    parser.add_argument("root", type=Path, metavar="DIR", help="UCF-101, or any folder of videos")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--fold", type=int, default=1, help="which of UCF-101's splits")
    parser.add_argument("--videos_per_shard", type=int, default=100, metavar="N")
    args = parser.parse_args(argv)
    if args.videos_per_shard < 1:
        raise UserError("a shard holds at least one video")
    require_places(args.root, args.out)
    try:
        pack_both(args)
    except OSError as error:
        raise UserError(
            f"no shard could be written to {args.out} ({error.strerror}); make room, or put it right otherwise, and "
            "give the same command again: the shards that are whole stay"
        ) from error


def require_places(root: Path, out: Path) -> None:
    if is_packed(root):
        raise UserError(f"{root} holds shards; give the folder that they were packed from")
    if root.is_dir() and out.resolve().is_relative_to(root.resolve()):
        raise UserError(f"{out} lies in {root}, whose videos it would be taken for; give a folder elsewhere")


def pack_both(args: argparse.Namespace) -> None:
    args.out.mkdir(parents=True, exist_ok=True)
    with lock(args.out / ".lock"):
        for split in get_args(Split):
            packed = pack(args.root, args.out, split, args.fold, args.videos_per_shard)
            videos = sum(shard.videos for shard in packed.shards)
            print(f"{args.out}: {split}: {videos} videos in {len(packed.shards)} shards")


if __name__ == "__main__":
    sys.exit(main())
