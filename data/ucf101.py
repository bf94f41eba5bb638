"""UCF-101's official files: `classInd.txt`, `trainlist01..03.txt`, `testlist01..03.txt`, and a check of a copy.

    python -m data.ucf101 check DIR

compares the videos below DIR with the lists, and the lists with what they officially hold.
"""

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from data.folder import find_videos
from data.survey import survey
from data.video.probe import BadVideo
from runtime.errors import UserError
from runtime.options import OptionParser
from runtime.script import script

VIDEOS = "UCF-101"
LISTS = "ucfTrainTestlist"
FOLDS = (1, 2, 3)
OFFICIAL_CLASSES, OFFICIAL_VIDEOS, OFFICIAL_GROUPS = 101, 13320, 25
OFFICIAL_SPLITS = {1: (9537, 3783), 2: (9586, 3734), 3: (9624, 3696)}  # train and test videos


def read_split(root: Path, split: str, fold: int) -> tuple[list[str], list[int], list[str]]:
    """Files (relative to `UCF-101/`), labels from 0, and class names of an official split.

    Raises `UserError` for a list that is missing or a line that names an unknown class.
    """
    classes = read_classes(root)
    label_of = {name: label for label, name in enumerate(classes)}
    files = [line.split()[0] for line in _lines(root / LISTS / f"{split}list{fold:02}.txt")]
    for file in files:
        if file.split("/")[0] not in label_of:
            raise UserError(f"{split}list{fold:02}.txt names {file}, whose class is not in classInd.txt")
    return files, [label_of[file.split("/")[0]] for file in files], classes


def read_classes(root: Path) -> list[str]:
    """Class names in the order of their numbers."""
    path = root / LISTS / "classInd.txt"
    lines = _lines(path)
    try:
        numbered = [(int(number), name) for number, name in map(str.split, lines)]
    except ValueError as error:
        raise UserError(f"{path} is not a list of lines such as '1 ApplyEyeMakeup'") from error
    return [name for _, name in sorted(numbered)]


def group_of(file: str) -> int:
    """The group `NN` of `v_<Class>_gNN_cNN.avi`: its videos share scene and actor. Raises `UserError`."""
    if not (group := re.search(r"_g(\d+)_c\d+\.\w+$", file)):
        raise UserError(f"{file} is no file name of UCF-101, such as v_Archery_g01_c01.avi")
    return int(group[1])


@dataclass(frozen=True)
class Findings:
    """What a copy of the data set lacks.

    Attributes:
        videos: how many the lists name.
        mistakes: in the lists themselves, a line each.
        missing, extra: files named by the lists alone, or there alone.
        bad: (file, reason) of those that cannot be read.
        short: (file, problem) of those that can be read in part.
    """

    videos: int
    mistakes: tuple[str, ...]
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    bad: tuple[tuple[str, str], ...]
    short: tuple[tuple[str, str], ...]

    @property
    def complete(self) -> bool:
        """Whether every listed video is there and can be read. Extra files do no harm."""
        return not (self.mistakes or self.missing or self.bad)


def check(root: Path, cache: Path | None = None) -> Findings:
    """Compare the videos of a UCF-101 tree with its lists; every video is decoded once (see `data.survey`).

    Lists of 101 classes must hold the official numbers of videos and groups; those of other classes must agree with
    each other. Raises `UserError` when a list is missing or damaged.
    """
    classes = read_classes(root)
    splits = {fold: tuple(read_split(root, split, fold)[0] for split in ("train", "test")) for fold in FOLDS}
    listed = sorted({file for lists in splits.values() for files in lists for file in files})
    mistakes = [line for fold, (train, test) in splits.items() for line in _disagreements(fold, train, test, listed)]
    if len(classes) == OFFICIAL_CLASSES:
        mistakes += _unofficial(splits, listed)
    videos = root / VIDEOS
    present = set(find_videos(videos))
    here = [file for file in listed if file in present]
    found = list(zip(here, survey(videos, here, cache), strict=True))
    return Findings(
        len(listed),
        tuple(mistakes),
        tuple(file for file in listed if file not in present),
        tuple(sorted(present - set(listed))),
        tuple((file, each.reason) for file, each in found if isinstance(each, BadVideo)),
        tuple((file, each.problem) for file, each in found if not isinstance(each, BadVideo) and each.problem),
    )


def _disagreements(fold: int, train: list[str], test: list[str], listed: list[str]) -> Iterable[str]:
    """How a split contradicts itself, or the other splits."""
    if unlisted := len(set(listed) - set(train) - set(test)):
        yield f"split {fold} lists {len(listed) - unlisted} of the {len(listed)} videos in all lists"
    if shared := len(_groups(train) & _groups(test)):
        yield f"split {fold} has {shared} groups in both train and test"
    if repeated := len(train) + len(test) - len({*train, *test}):
        yield f"split {fold} lists {repeated} videos twice"


def _unofficial(splits: dict[int, tuple[list[str], list[str]]], listed: list[str]) -> Iterable[str]:
    """How the lists differ from the official numbers."""
    if len(listed) != OFFICIAL_VIDEOS:
        yield f"the lists name {len(listed)} videos, UCF-101 has {OFFICIAL_VIDEOS}"
    if (groups := len(_groups(listed))) != OFFICIAL_CLASSES * OFFICIAL_GROUPS:
        yield f"the lists name {groups} groups, UCF-101 has {OFFICIAL_CLASSES} x {OFFICIAL_GROUPS}"
    for fold, (train, test) in splits.items():
        if (len(train), len(test)) != OFFICIAL_SPLITS[fold]:
            official = " + ".join(map(str, OFFICIAL_SPLITS[fold]))
            yield f"split {fold} lists {len(train)} + {len(test)} videos (train + test), officially {official}"


def _groups(files: list[str]) -> set[tuple[str, int]]:
    return {(file.split("/")[0], group_of(file)) for file in files}


def _table(findings: Findings) -> Table:
    """The files with a problem, class by class."""
    rows = [(file, "missing", "") for file in findings.missing] + [(file, "extra", "") for file in findings.extra]
    rows += [(file, "bad", reason) for file, reason in findings.bad]
    rows += [(file, "short", problem) for file, problem in findings.short]
    drawn, last = Table("class", "file", "state", "reason"), None
    for file, state, reason in sorted(rows):
        name, _, base = file.rpartition("/")
        drawn.add_row(name if name != last else "", base, state, reason)
        last = name
    return drawn


@script
def main(argv: list[str]) -> None:
    parser = OptionParser(prog="data.ucf101", description="Check a copy of UCF-101 against its lists.")
    parser.add_argument("command", choices=["check"])
    parser.add_argument("root", type=Path, metavar="DIR", help=f"the folder with {VIDEOS}/ and {LISTS}/")
    parser.add_argument("--cache", type=Path, metavar="FILE", help="keep what was found in each video there")
    args = parser.parse_args(argv)
    findings = check(args.root, args.cache)
    table = _table(findings)
    if table.row_count:
        Console().print(table)
    for line in findings.mistakes:
        print(line)
    counts = f"{len(findings.missing)} missing, {len(findings.extra)} extra, {len(findings.bad)} bad"
    summary = f"{findings.videos} videos listed, {counts}, {len(findings.short)} short"
    if not findings.complete:
        raise UserError(f"{args.root} is incomplete: {summary}, {len(findings.mistakes)} mistakes in its lists")
    print(f"{args.root} is complete: {summary}")


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise UserError(f"{path} is missing; it comes with UCF-101's official train/test lists")
    return [line.strip() for line in path.read_text().splitlines() if line.strip()]


if __name__ == "__main__":
    sys.exit(main())
