"""UCF-101's official files: `classInd.txt`, `trainlist01..03.txt`, `testlist01..03.txt`."""

from pathlib import Path

from runtime.errors import UserError

VIDEOS = "UCF-101"
LISTS = "ucfTrainTestlist"


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
    try:
        numbered = [(int(number), name) for number, name in (line.split() for line in _lines(path))]
    except ValueError as error:
        raise UserError(f"{path} is not a list of lines such as '1 ApplyEyeMakeup'") from error
    return [name for _, name in sorted(numbered)]


def group_of(file: str) -> int:
    """The group `NN` of `v_<Class>_gNN_cNN.avi`: its videos share scene and actor."""
    return int(Path(file).stem.split("_")[-2].removeprefix("g"))


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise UserError(f"{path} is missing; it comes with UCF-101's official train/test lists")
    return [line.strip() for line in path.read_text().splitlines() if line.strip()]
