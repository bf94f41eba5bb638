"""Pack a data set into WebDataset shards, for sets beyond one disk.

    python -m data.shards pack DIR OUT

`--data.root OUT` then reads them (see `data.shard_files` for what OUT holds). Packing goes on where it was interrupted.
"""

import argparse
import io
import json
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch

from data.config import Split
from data.index import VideoIndex, open_index
from data.inspector import to_json
from data.shard_files import ShardList, list_path, read_list, records_path
from runtime.errors import UserError
from runtime.files import write_text
from runtime.progress import track
from runtime.random import generator
from runtime.script import script


@dataclass(frozen=True)
class Packing:
    """Which videos of a split go where.

    Training videos come in a random order, so that each shard is a sample of the set; the others as in the data set.
    """

    index: VideoIndex
    split: Split
    videos_per_shard: int

    @property
    def order(self) -> list[int]:
        count = len(self.index.videos)
        return torch.randperm(count, generator=generator("pack")).tolist() if self.split == "train" else [*range(count)]

    @property
    def records(self) -> list[dict[str, object]]:
        videos, names, labels = self.index.videos, self.index.names, self.index.labels
        return [{"name": names[i], "label": labels[i], "video": to_json(videos[i])} for i in self.order]

    @property
    def shards(self) -> dict[str, range]:
        """The places of each tar's videos in the order."""
        count, size = len(self.index.videos), self.videos_per_shard
        starts = enumerate(range(0, count, size))
        return {f"{self.split}-{number:06}.tar": range(start, min(start + size, count)) for number, start in starts}


def pack(root: Path, out: Path, split: Split, fold: int, videos_per_shard: int) -> ShardList:
    """Write the shards of a split, and their list last. The same data set gives the same bytes.

    Raises `UserError` when `out` holds other shards, or the disk is full; what is whole stays.
    """
    index = open_index(root, split, fold, out / "index.json")
    packing = Packing(index, split, videos_per_shard)
    try:
        write_shards(packing, out)
    except OSError as error:
        raise UserError(
            f"no shard could be written to {out} ({error.strerror}); make room and give the same command again: the "
            "shards that are whole stay"
        ) from error
    return read_list(out, split)


def write_shards(packing: Packing, out: Path) -> None:
    split, records, shards, order = packing.split, packing.records, packing.shards, packing.order
    listed = [{"url": name, "videos": len(places)} for name, places in shards.items()]
    begin(records_path(out, split), json.dumps({"shards": listed, "videos": records}) + "\n")
    for name, places in track(shards.items(), len(shards), f"packing {split}", "shards"):
        if not (out / name).is_file():
            write_shard(out / name, {i: (records[i], packing.index.videos[order[i]].path) for i in places})
    write_text(list_path(out, split), json.dumps({"shards": listed, "classes": packing.index.classes}) + "\n")


def begin(path: Path, text: str) -> None:
    """Write down what will be packed. Raises `UserError` where something else was."""
    if path.exists() and path.read_text() != text:
        raise UserError(
            f"{path.parent} holds other shards, or those of a data set that has changed; give another folder, or "
            "remove it first"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)


def write_shard(path: Path, videos: Mapping[int, tuple[dict[str, object], Path]]) -> None:
    """A tar of records, each followed by its video, in the order of their numbers."""
    partial = path.with_name(f".{path.name}.partial")
    with tarfile.open(partial, "w") as tar:
        for number, (record, video) in videos.items():
            for suffix, content in ((".json", json.dumps(record).encode()), (video.suffix.lower(), video.read_bytes())):
                member = tarfile.TarInfo(f"{number:08}{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    partial.replace(path)


@script
def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="data.shards", description="Pack a data set into WebDataset shards.")
    parser.add_argument("command", choices=["pack"])
    parser.add_argument("root", type=Path, metavar="DIR", help="UCF-101, or any folder of videos")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--fold", type=int, default=1, help="which of UCF-101's splits")
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
