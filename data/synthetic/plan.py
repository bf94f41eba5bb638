"""Which clips a built-in data set holds, and the lists that split them: UCF-101's own names and formats."""

from math import ceil
from pathlib import Path
from typing import NamedTuple

from data.synthetic.motions import MOTIONS
from runtime.errors import UserError
from runtime.files import write_text
from runtime.random import seed_of

RECORD = "dataset.json"  # the settings that a data set was made with
CLIPS_PER_GROUP = 1  # every clip a look of its own: an autoencoder needs many looks more than many clips of one
FEWEST_GROUPS, MOST_GROUPS = 4, 99  # three disjoint test sets and a rest; two digits
SPLITS = 3
TEST_SHARE = 7 / 25  # of the groups, as in UCF-101's lists


class Clip(NamedTuple):
    """One video's place in the data set; `group` and `number` count from 1."""

    name: str
    group: int
    number: int

    @property
    def file(self) -> str:
        """The path below `UCF-101/`, as the official lists write it."""
        return f"{self.name}/v_{self.name}_g{self.group:02}_c{self.number:02}.avi"

    def seeds(self, seed: int) -> tuple[int, int]:
        """The seeds of its look, which its group shares, and of its motion. Looks are drawn alike for every class."""
        label = list(MOTIONS).index(self.name)
        look = seed_of("synthetic look", seed, label, self.group)
        return look, seed_of("synthetic motion", seed, label, self.group, self.number)


def plan_clips(videos_per_class: int) -> list[Clip]:
    """Every clip in the order of the lists: class, group, number; the groups of a class differ by one clip at most."""
    if not FEWEST_GROUPS <= videos_per_class <= MOST_GROUPS * 99:
        raise UserError(f"videos per class must be {FEWEST_GROUPS} to {MOST_GROUPS * 99}, not {videos_per_class}")
    groups = min(max(ceil(videos_per_class / CLIPS_PER_GROUP), FEWEST_GROUPS), MOST_GROUPS)
    places = sorted((i % groups + 1, i // groups + 1) for i in range(videos_per_class))
    return [Clip(name, *place) for name in MOTIONS for place in places]


def write_lists(folder: Path, clips: list[Clip]) -> None:
    """The class index and the train and test list of each split, in the official formats."""
    folder.mkdir(exist_ok=True)
    labels = {name: label for label, name in enumerate(MOTIONS, 1)}
    groups = max(clip.group for clip in clips)
    share = round(TEST_SHARE * groups)
    write_text(folder / "classInd.txt", "".join(f"{label} {name}\n" for name, label in labels.items()))
    for split in range(SPLITS):
        held_out = range(split * share + 1, (split + 1) * share + 1)
        train = (f"{clip.file} {labels[clip.name]}\n" for clip in clips if clip.group not in held_out)
        test = (f"{clip.file}\n" for clip in clips if clip.group in held_out)
        write_text(folder / f"trainlist{split + 1:02}.txt", "".join(train))
        write_text(folder / f"testlist{split + 1:02}.txt", "".join(test))
