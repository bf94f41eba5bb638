"""Films a clip of the built-in data set: a look acting one of the ten motions, as frames and as a file.

Look and motion come from two seeds and never meet before the drawing, so appearance tells nothing about the class.
A frame is one crop of the background and one look-up inside the sprite's box.
"""

from math import cos, pi, sin, tau
from pathlib import Path

import av
import numpy as np
from numpy import ndarray

from data.synthetic.looks import (
    HALF,
    HEIGHT,
    PAN_MARGIN,
    SHEET_REACH,
    SHEET_SIZE,
    WIDTH,
    Look,
    bilinear,
    draw_look,
    smooth,
)
from data.synthetic.motions import MOTIONS, Pose

FPS = 25
SHORTEST, LONGEST = 50, 75  # frames in a clip
BIT_RATE = 4_000_000
LIGHT = (-0.55, -0.83)  # towards the lamp, on the screen
SHADOW_OFFSET, SHADOW_SOFTNESS, SHADOW_STRENGTH = 0.13, 0.28, 0.38  # in sprite radii; share of light taken


def motion_frames(name: str, look_seed: int, motion_seed: int) -> ndarray:
    """A clip of the motion class `name`: uint8 `t h w c`, 50 to 75 frames of 240×320 at 25 a second.

    The same three arguments give the same frames. `look_seed` alone decides the sprite and the background,
    `motion_seed` the length, the resting place, the panning and the motion's own parameters.
    """
    look = draw_look(np.random.default_rng(look_seed))
    rng = np.random.default_rng(motion_seed)
    count = int(rng.integers(SHORTEST, LONGEST + 1))
    rest = rng.uniform(-0.06, 0.06, 2)
    heading, speed = rng.uniform(0, tau), rng.uniform(4, 8)  # of the panning; pixels a second
    motion = MOTIONS[name](rng, (count - 1) / FPS)
    frames = np.empty((count, HEIGHT, WIDTH, 3), np.uint8)
    for i, frame in enumerate(frames):
        panned = speed * (i - count / 2) / FPS
        picture = _crop(look.background, panned * cos(heading), panned * sin(heading))
        _draw_sprite(picture, look, motion(i / FPS), rest)
        frame[:] = picture + 0.5
    return frames


def write_clip(path: Path, name: str, look_seed: int, motion_seed: int) -> None:
    """Film a clip (see `motion_frames`) into an AVI file: MPEG-4, no B-frames, same bytes for same arguments.

    The file appears at `path` only when it is complete.
    """
    frames = motion_frames(name, look_seed, motion_seed)
    partial = path.with_name(f".{path.name}.partial")
    with av.open(str(partial), "w", format="avi", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("mpeg4", rate=FPS, options={"flags": "+bitexact"})
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        stream.bit_rate, stream.gop_size, stream.max_b_frames, stream.thread_count = BIT_RATE, 12, 0, 1
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        container.mux(stream.encode())
    partial.rename(path)


def _draw_sprite(picture: ndarray, look: Look, pose: Pose, rest: ndarray) -> None:
    """Lay the sprite and its soft shadow over `picture`, `h w c` in [0, 255]."""
    radius = look.radius * HALF
    centre_x, centre_y = WIDTH / 2 + (rest[0] + pose.x) * HALF, HEIGHT / 2 + (rest[1] + pose.y) * HALF
    reach = (1.5 + pose.wave) * radius * max(pose.width, pose.height)
    top, bottom = (int(np.clip(centre_y + side * reach, 0, HEIGHT)) for side in (-1, 1))
    left, right = (int(np.clip(centre_x + side * reach, 0, WIDTH)) for side in (-1, 1))
    dy = ((np.arange(top, bottom, dtype=np.float32) - np.float32(centre_y)) / (radius * pose.height))[:, None]
    dx = ((np.arange(left, right, dtype=np.float32) - np.float32(centre_x)) / (radius * pose.width))[None, :]

    turn = look.angle + pose.angle
    box = picture[top:bottom, left:right]
    shaded = _look_up(look.sheet[..., 3:4], *_to_body(dx - SHADOW_OFFSET * 0.6, dy - SHADOW_OFFSET, turn, pose))
    box *= 1 - SHADOW_STRENGTH * pose.opacity * smooth(0.5 - shaded / SHADOW_SOFTNESS)
    body = _look_up(look.sheet, *_to_body(dx, dy, turn, pose))
    # The surface turns with the body, the lamp does not.
    lamp_u, lamp_v = LIGHT[0] * cos(turn) + LIGHT[1] * sin(turn), LIGHT[1] * cos(turn) - LIGHT[0] * sin(turn)
    facing = body[..., 4:5] * lamp_u + body[..., 5:6] * lamp_v
    colour = body[..., :3] * (1 + 0.32 * np.minimum(facing, 0)) + 58 * np.maximum(facing, 0)
    coverage = (0.5 - body[..., 3:4] * (radius * min(pose.width, pose.height))).clip(0, 1) * pose.opacity
    box += coverage * (colour.clip(0, 254.5) - box)


def _to_body(dx: ndarray, dy: ndarray, turn: float, pose: Pose) -> tuple[ndarray, ndarray]:
    """Offsets from the sprite's centre on the screen to points of its own plane, both in sprite radii."""
    u, v = dx * cos(turn) + dy * sin(turn), dy * cos(turn) - dx * sin(turn)
    if pose.wave:
        u = u + pose.wave * np.sin(np.float32(pi * 1.5) * v - np.float32(pose.wave_phase % tau))
    return u, v


def _look_up(sheet: ndarray, u: ndarray, v: ndarray) -> ndarray:
    """The sheet at points of the body's plane; beyond its edge, the edge."""
    texels = (SHEET_SIZE - 1) / (2 * SHEET_REACH)
    return bilinear(sheet, (u + SHEET_REACH) * texels, (v + SHEET_REACH) * texels)


def _crop(background: ndarray, shift_x: float, shift_y: float) -> ndarray:
    """The frame's window on the background, moved from its middle by a fraction of pixels."""
    x, y = PAN_MARGIN + shift_x, PAN_MARGIN + shift_y
    column, row = int(x), int(y)
    window = background[row : row + HEIGHT + 1, column : column + WIDTH + 1]
    window = window[:-1] + np.float32(y - row) * (window[1:] - window[:-1])
    return window[:, :-1] + np.float32(x - column) * (window[:, 1:] - window[:, :-1])
