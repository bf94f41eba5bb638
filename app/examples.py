"""Videos to begin with: test videos of the data set that a run saw, or else some that are filmed here and now."""

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from app.weights import Models
from data.config import DataConfig
from data.index import list_split
from data.synthetic.animation import write_clip
from data.synthetic.factors import Factors, factors_of, read_factors
from data.synthetic.plan import MOST_GROUPS, Clip
from data.video.frames import BadVideo, VideoInfo, probe, read_frames
from runtime.errors import UserError

SHOWN = 8
FILMED = ("Orbit", "Bounce", "Swing", "Zoom")
SEED = 0
SECONDS = 2.0
THUMBNAIL = (120, 160)  # rows and columns


@dataclass(frozen=True)
class Example:
    """A video that is there, a `picture` of it, and what it is made of, where that is known."""

    caption: str
    info: VideoInfo
    picture: Image.Image
    factors: Factors | None


def find_examples(models: Models, place: Path) -> list[Example]:
    """Of the data set's test videos some of all classes; where it is not there, four are filmed into `place`."""
    return _of_data(models.data) or [_filmed(name, place) for name in FILMED]


def _of_data(data: DataConfig) -> list[Example]:
    """Evenly spread over the test split; what cannot be read is passed over."""
    try:
        home, files, labels, classes = list_split(Path(data.root), "test", data.fold)
        known = read_factors(Path(data.root)) or {}
    except (UserError, OSError):
        return []
    captions = [classes[label] if classes else Path(file).stem for file, label in zip(files, labels, strict=True)]
    step = max(len(files) // SHOWN, 1)
    return [
        example for place in range(0, len(files), step)[:SHOWN]
        if (example := _example(captions[place], home / files[place], known.get(files[place])))
    ]  # fmt: skip


def _filmed(name: str, place: Path) -> Example:
    """Of the built-in set's kind, of a group that no set of it has."""
    clip, path = Clip(name, group=MOST_GROUPS + 1, number=1), place / f"{name}.avi"
    write_clip(path, name, *clip.seeds(SEED), SECONDS)
    example = _example(name, path, factors_of(clip, SEED, SECONDS))
    assert example is not None
    return example


def _example(caption: str, path: Path, factors: Factors | None) -> Example | None:
    try:
        info = probe(path)
        frame = read_frames(info, [info.frames // 2], THUMBNAIL)[0]
    except BadVideo:
        return None
    return Example(caption, info, Image.fromarray(frame.numpy()), factors)
