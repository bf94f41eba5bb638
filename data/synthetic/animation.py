"""Films a clip of the built-in data set: a look acting one of the ten motions, as frames and as a file.

Look and motion come from two seeds and never meet before the drawing, so appearance tells nothing about the class.
A frame is one crop of the background and one look-up inside the sprite's box, by torch, whose look-up is a single pass.
"""

from dataclasses import dataclass
from math import cos, hypot, pi, sin, tau
from pathlib import Path

import av
import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from numpy import ndarray
from torch import Tensor

from data.synthetic.looks import HALF, HEIGHT, PAN_MARGIN, WIDTH, Design, Look, design_look, paint
from data.synthetic.motions import MOTIONS, Motion, Pose, to_and_fro
from data.synthetic.noise import smooth
from data.synthetic.patterns import SHEET_REACH

FPS = 25
SHORTEST, LONGEST = 50, 75  # frames in a crossing of the picture, and in a clip where no length is asked for
BIT_RATE = 4_000_000
LIGHT = (-0.55, -0.83)  # towards the lamp, on the screen
SHADOW_X, SHADOW_Y, SHADOW_SOFTNESS = 0.078, 0.13, 0.28  # in sprite radii
SHADOW_STRENGTH = 0.38  # share of the light that it takes


@dataclass(frozen=True)
class Take:
    """How a clip is acted and filmed.

    Attributes:
        crossing: frames in which the panning goes once across; also the clip's length where none is asked for.
        rest: of the sprite, x and y in half-frames.
        heading, speed: of the panning; radians, pixels a second.
        motion: of the sprite, about its place at rest.
    """

    crossing: int
    rest: ndarray
    heading: float
    speed: float
    motion: Motion

    def frames(self, seconds: float | None) -> int:
        """How many a clip of so many seconds has."""
        return self.crossing if seconds is None else round(seconds * FPS)

    def panned(self, frame: int) -> tuple[float, float]:
        """How far the picture has moved over the background since the middle of a crossing, x and y in pixels."""
        along = self.speed * (to_and_fro(frame, self.crossing - 1) - self.crossing / 2) / FPS
        return along * cos(self.heading), along * sin(self.heading)


def plan_take(name: str, motion_seed: int) -> Take:
    """A random take of the motion class `name`."""
    rng = np.random.default_rng(motion_seed)
    crossing = int(rng.integers(SHORTEST, LONGEST + 1))
    rest = rng.uniform(-0.06, 0.06, 2)
    heading, speed = rng.uniform(0, tau), rng.uniform(4, 8)
    return Take(crossing, rest, heading, speed, MOTIONS[name](rng, (crossing - 1) / FPS))


def motion_frames(name: str, look_seed: int, motion_seed: int, seconds: float | None = None) -> ndarray:
    """A clip of the motion class `name`: uint8 `t h w c`, 50 to 75 frames of 240×320 at 25 a second, or `seconds`.

    The same arguments give the same frames. `look_seed` alone decides the sprite and the background, `motion_seed` the
    length, the resting place, the panning and the motion's own parameters; a longer clip begins with the shorter one.
    """
    return film(design_look(np.random.default_rng(look_seed)), plan_take(name, motion_seed), seconds)


@torch.inference_mode()
def film(design: Design, take: Take, seconds: float | None = None) -> ndarray:
    """The clip of a look in a take, as `motion_frames` gives it."""
    look = paint(design)
    reach = look.reach(SHADOW_SOFTNESS / 2) + hypot(SHADOW_X, SHADOW_Y)
    frames = torch.empty(take.frames(seconds), HEIGHT, WIDTH, 3, dtype=torch.uint8)
    for i, frame in enumerate(frames):
        picture = _crop(look.background, *take.panned(i))
        _draw_sprite(picture, look, take.motion(i / FPS), take.rest, reach)
        frame.copy_(picture.add_(0.5))
    return frames.numpy()


def write_clip(path: Path, name: str, look_seed: int, motion_seed: int, seconds: float | None = None) -> None:
    """Film a clip (see `motion_frames`) into an AVI file: MPEG-4, no B-frames, same bytes for same arguments.

    The file appears at `path` only when it is complete.
    """
    frames = motion_frames(name, look_seed, motion_seed, seconds)
    partial = path.with_name(f".{path.name}.partial")
    with av.open(str(partial), "w", format="avi", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("mpeg4", rate=FPS, options={"flags": "+bitexact"})
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        stream.bit_rate, stream.gop_size, stream.max_b_frames, stream.thread_count = BIT_RATE, 12, 0, 1
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        container.mux(stream.encode())
    partial.rename(path)


def _draw_sprite(picture: Tensor, look: Look, pose: Pose, rest: ndarray, reach: float) -> None:
    """Lay the sprite and its soft shadow, within `reach` radii, over `picture`, `h w c` in [0, 255]."""
    radius = look.radius * HALF
    centre_x, centre_y = WIDTH / 2 + (rest[0] + pose.x) * HALF, HEIGHT / 2 + (rest[1] + pose.y) * HALF
    farthest = (reach + pose.wave) * radius * max(pose.width, pose.height)
    rows, dy = _across(centre_y, farthest, HEIGHT, radius * pose.height)
    columns, dx = _across(centre_x, farthest, WIDTH, radius * pose.width)
    dy = dy[:, None]

    turn = look.angle + pose.angle
    box = rearrange(picture[rows, columns], "h w c -> c h w")
    shaded = _look_up(look.sheet[3:4], *_to_body(dx - SHADOW_X, dy - SHADOW_Y, turn, pose))
    box *= 1 - SHADOW_STRENGTH * pose.opacity * smooth(0.5 - shaded / SHADOW_SOFTNESS)
    body = _look_up(look.sheet, *_to_body(dx, dy, turn, pose))
    # The surface turns with the body, the lamp does not.
    lamp_u, lamp_v = LIGHT[0] * cos(turn) + LIGHT[1] * sin(turn), LIGHT[1] * cos(turn) - LIGHT[0] * sin(turn)
    facing = body[4] * lamp_u + body[5] * lamp_v
    colour = body[:3] * (1 + 0.32 * facing.clamp(max=0)) + 58 * facing.clamp(min=0)
    coverage = (0.5 - body[3] * (radius * min(pose.width, pose.height))).clamp(0, 1) * pose.opacity
    box.lerp_(colour.clamp(0, 254.5), coverage)


def _across(centre: float, farthest: float, length: int, unit: float) -> tuple[slice, Tensor]:
    """The pixels of one axis no farther than that from `centre`, and their distances from it in `unit`."""
    first, end = (int(min(max(centre + side * farthest, 0), length)) for side in (-1, 1))
    return slice(first, end), (torch.arange(first, end, dtype=torch.float32) - centre) / unit


def _to_body(dx: Tensor, dy: Tensor, turn: float, pose: Pose) -> tuple[Tensor, Tensor]:
    """Offsets from the sprite's centre on the screen to points of its own plane, both in sprite radii."""
    u, v = dx * cos(turn) + dy * sin(turn), dy * cos(turn) - dx * sin(turn)
    if pose.wave:
        u = u + pose.wave * torch.sin(pi * 1.5 * v - pose.wave_phase % tau)
    return u, v


def _look_up(sheet: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """The sheet, `c h w`, at points `h w` of the body's plane; beyond its edge, the edge."""
    places = rearrange(torch.stack([u, v]) / SHEET_REACH, "two h w -> 1 h w two")
    return F.grid_sample(sheet[None], places, padding_mode="border", align_corners=True)[0]


def _crop(background: Tensor, shift_x: float, shift_y: float) -> Tensor:
    """The frame's window on the background, moved from its middle by a fraction of pixels."""
    x, y = PAN_MARGIN + shift_x, PAN_MARGIN + shift_y
    column, row = int(x), int(y)
    window = background[row : row + HEIGHT + 1, column : column + WIDTH + 1]
    window = torch.lerp(window[:-1], window[1:], y - row)
    return torch.lerp(window[:, :-1], window[:, 1:], x - column)
