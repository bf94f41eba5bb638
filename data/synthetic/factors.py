"""What the clips of the built-in data set are made of: the factors that a model of them may keep apart or mix up.

`factors.json` lies beside the clips. It follows from the settings in `dataset.json`, so a set that was written before
there were factors has them all the same.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from math import atan2, hypot
from pathlib import Path

import numpy as np

from data.synthetic.animation import FPS, plan_take
from data.synthetic.looks import HALF, Colour, design_look, to_srgb
from data.synthetic.motions import Pose
from data.synthetic.plan import RECORD, Clip, plan_clips
from runtime.errors import UserError
from runtime.files import write_text

FACTORS = "factors.json"
STILL = 0.05  # half-frames: a sprite that ends nearer to its start has no direction


@dataclass(frozen=True)
class Factors:
    """All that is drawn of one clip. Lengths are in half-frames (half the height of the picture), angles in radians.

    Attributes:
        motion: the class.
        group: clips of one group share their look: `shape` to `bands`.
        shape, texture: of the sprite.
        radius, angle: of the sprite at rest.
        body_hue: of the sprite's main colour, in degrees of OKLab.
        ground_hue: of the background's most frequent colour.
        body, ground: the colours themselves, in [0, 255]: the sprite's main one and accent, the background's three.
        dark: whether the background is.
        bands: whether the background has contour bands.
        frames: length of the clip, 25 a second.
        rest: the sprite's resting place from the middle of the picture, x to the right and y downwards.
        pan_heading, pan_speed: of the background; half-frames a second.
        speed: of the sprite's centre, mean over the clip, half-frames a second.
        direction: from its place in the first frame to that in the last; None where these are (nearly) the same.
        pose: what changes from frame to frame, a list for each: `x` and `y` of the sprite's centre always, and of
            `data.synthetic.motions.Pose` what the motion moves.
    """

    motion: str
    group: int
    shape: str
    texture: str
    radius: float
    angle: float
    body_hue: float
    ground_hue: float
    body: list[list[float]]
    ground: list[list[float]]
    dark: bool
    bands: bool
    frames: int
    rest: list[float]
    pan_heading: float
    pan_speed: float
    speed: float
    direction: float | None
    pose: dict[str, list[float]]


def factors_of(clip: Clip, seed: int, seconds: float | None) -> Factors:
    """The factors of one clip of a data set, without drawing it."""
    look_seed, motion_seed = clip.seeds(seed)
    design, take = design_look(np.random.default_rng(look_seed)), plan_take(clip.name, motion_seed)
    frames = take.frames(seconds)
    poses = [take.motion(i / FPS) for i in range(frames)]
    track = {each.name: [getattr(pose, each.name) for pose in poses] for each in fields(Pose)}
    x, y = (np.array(track.pop(axis)) + at for axis, at in zip("xy", take.rest, strict=True))
    moved = x[-1] - x[0], y[-1] - y[0]
    return Factors(
        motion=clip.name,
        group=clip.group,
        shape=design.shape,
        texture=design.texture,
        radius=design.radius,
        angle=design.angle,
        body_hue=design.body[0][2] % 360,
        ground_hue=design.ground[1][2] % 360,
        body=_rounded_colours(design.body),
        ground=_rounded_colours(design.ground),
        dark=design.dark,
        bands=design.bands > 0,
        frames=frames,
        rest=take.rest.tolist(),
        pan_heading=take.heading,
        pan_speed=take.speed / HALF,
        speed=float(np.hypot(np.diff(x), np.diff(y)).mean() * FPS),
        direction=atan2(*moved[::-1]) if hypot(*moved) > STILL else None,
        pose={"x": _rounded(x), "y": _rounded(y)} | {k: _rounded(v) for k, v in track.items() if len(set(v)) > 1},
    )


def write_factors(root: Path, clips: Sequence[Clip], seed: int, seconds: float | None) -> None:
    """`factors.json` below `root`: a line for each clip, by its path below `UCF-101/`."""
    lines = (f"{json.dumps(clip.file)}: {json.dumps(asdict(factors_of(clip, seed, seconds)))}" for clip in clips)
    write_text(root / FACTORS, "{\n" + ",\n".join(lines) + "\n}\n")


def read_factors(root: Path) -> dict[str, Factors] | None:
    """Factors by a clip's path below `UCF-101/`; None for a data set that is not the built-in one, or is packed.

    Raises `UserError` where the files that name them are damaged.
    """
    file, record = root / FACTORS, root / RECORD
    try:
        if file.is_file():
            return {name: Factors(**found) for name, found in json.loads(file.read_text()).items()}
        if record.is_file():
            settings = json.loads(record.read_text())
            seed, seconds = settings["seed"], settings.get("seconds")
            return {clip.file: factors_of(clip, seed, seconds) for clip in plan_clips(settings["videos_per_class"])}
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"the factors of {root} cannot be read: {file.name} or {record.name} is damaged") from error
    return None


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(float(value), 4) for value in values]


def _rounded_colours(colours: Sequence[Colour]) -> list[list[float]]:
    return [_rounded(colour) for colour in to_srgb(colours)]
