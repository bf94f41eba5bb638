"""What the clips of the built-in data set look like: a textured sprite on a background, in matching colours.

A look is drawn once for a clip, larger than needed: the background as a picture to pan over, the sprite as a sheet of
colours, signed distances and surface slopes over its own plane.
"""

from dataclasses import dataclass
from math import cos, pi, sin, tau

import numpy as np
import torch
from numpy import ndarray
from numpy.random import Generator
from torch import Tensor

HEIGHT, WIDTH = 240, 320
HALF = HEIGHT / 2  # pixels in a half-frame, the unit of lengths on the screen
PAN_MARGIN = 32  # pixels of background beyond each edge of the frame
SHEET_SIZE, SHEET_REACH = 320, 1.7  # texels across the sheet; sprite radii from its centre to its edge


@dataclass(frozen=True)
class Look:
    """What is seen, whatever it does.

    background: `h w c` in [0, 255], `PAN_MARGIN` larger than the frame on every side
    sheet: `6 h w`: colour in [0, 255], distance to the outline in sprite radii (negative inside), surface slope x and y
    radius: of the sprite at rest, in half-frames
    angle: of the sprite at rest
    """

    background: Tensor
    sheet: Tensor
    radius: float
    angle: float

    def reach(self, distance: float) -> float:
        """How far from the sprite's centre anything is no farther than `distance` from its outline, in radii."""
        axis = torch.linspace(-SHEET_REACH, SHEET_REACH, SHEET_SIZE)
        from_centre = torch.hypot(axis[:, None], axis)
        return from_centre[self.sheet[3] <= distance].max().item()


def draw_look(rng: Generator) -> Look:
    """A random sprite on a random background, in colours that suit each other."""
    ground, body = _palette(rng)
    background = torch.from_numpy(_draw_background(rng, ground))
    sheet = torch.from_numpy(_draw_sheet(rng, body))
    return Look(background, sheet, radius=rng.uniform(0.46, 0.54), angle=rng.uniform(-0.4, 0.4))


def _palette(rng: Generator) -> tuple[ndarray, ndarray]:
    """Three quiet neighbouring colours for the ground and two vivid ones for the body, each `n c` in [0, 255]."""
    hue = rng.uniform(0, 360)
    dark = rng.random() < 0.55
    light = rng.uniform(0.34, 0.42) if dark else rng.uniform(0.78, 0.86)
    chroma = rng.uniform(0.035, 0.06)
    ground = [(light + step * 0.075, chroma, hue + step * rng.uniform(15, 35)) for step in (-1, 0, 1)]
    hue += rng.uniform(120, 240)
    main = rng.uniform(0.7, 0.77) if dark else rng.uniform(0.54, 0.62)
    accent = main + (rng.choice((-0.14, 0.11)) if dark else 0.15)
    body = [(main, rng.uniform(0.12, 0.15), hue), (accent, rng.uniform(0.08, 0.12), hue + rng.choice((-1, 1)) * 40)]
    return _from_oklch(ground), _from_oklch(body)


def _from_oklch(colours: list[tuple[float, float, float]]) -> ndarray:
    """Lightness, chroma and hue (degrees) of OKLab (Ottosson, 2020) to sRGB in [0, 255], clipped to the gamut."""
    lightness, chroma, hue = np.array(colours).T
    a, b = chroma * np.cos(np.radians(hue)), chroma * np.sin(np.radians(hue))
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    red = 4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short
    green = -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short
    blue = -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short
    linear = np.stack([red, green, blue], axis=-1).clip(0, 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return (255 * srgb).astype(np.float32)


def _draw_background(rng: Generator, colours: ndarray) -> ndarray:
    """Soft clouds of two octaves, some with faint contour bands, blended from three colours: `h w c`."""
    y, x = (np.arange(size + 2 * PAN_MARGIN, dtype=np.float32) / np.float32(HALF) for size in (HEIGHT, WIDTH))
    clouds = 0.72 * _noise(rng, x * 1.3, y * 1.3) + 0.28 * _noise(rng, x * 3.4, y * 3.4)
    bands = float(rng.choice((0.0, 0.09)))
    level = (1.6 * (clouds - 0.5) + 0.5 + bands * np.sin(40 * clouds)).clip(0, 1) * 2
    lower = colours[0] + level.clip(0, 1)[..., None] * (colours[1] - colours[0])
    return lower + (level - 1).clip(0, 1)[..., None] * (colours[2] - colours[1])


def _draw_sheet(rng: Generator, colours: ndarray) -> ndarray:
    """The sprite as a table over its own plane, see `Look`."""
    axis = np.linspace(-SHEET_REACH, SHEET_REACH, SHEET_SIZE, dtype=np.float32)
    v, u = np.meshgrid(axis, axis, indexing="ij")
    level = SHAPES[rng.integers(len(SHAPES))](rng, u, v)
    texel = axis[1] - axis[0]
    gradient = np.stack(np.gradient(level, texel))
    # To first order, a smooth function that vanishes on the outline is a distance once divided by its slope.
    steepness = np.sqrt((gradient**2).sum(0))
    distance = level / np.maximum(steepness, 0.4)
    paint = _soft(TEXTURES[rng.integers(len(TEXTURES))](rng, u, v))[..., None]
    colour = colours[0] + paint * (colours[1] - colours[0])
    dome = ((distance + 0.42) / 0.42).clip(0, 1) ** 1.5  # flat in the middle, falling off towards the outline
    slope = gradient[::-1] / np.maximum(steepness, 0.4) * dome
    return np.stack([*np.moveaxis(colour, -1, 0), distance, *slope]).astype(np.float32)


def _noise(rng: Generator, x: ndarray, y: ndarray) -> ndarray:
    """Value noise in [0, 1] over the axes `x: w` and `y: h`, none negative: `h w`.

    One random value at each pair of whole numbers, smooth between them.
    """
    lattice = rng.random((int(y.max()) + 2, int(x.max()) + 2), dtype=np.float32)
    return _between(_between(lattice.T, x).T, y)


def _between(values: ndarray, places: ndarray) -> ndarray:
    """The rows of `values: n m` at fractional places, each going smoothly over into the next."""
    start = np.floor(places)
    row = start.astype(np.int32)
    before, after = values.take(row, 0), values.take(row + 1, 0)
    return before + smooth(places - start)[:, None] * (after - before)


def smooth(x: ndarray) -> ndarray:
    """A smooth step from 0 at x = 0 to 1 at x = 1."""
    x = x.clip(0, 1)
    return x * x * (3 - 2 * x)


def _soft(wave: ndarray) -> ndarray:
    """A wave in [-1, 1] to a pattern of two colours with soft seams, in [0, 1]."""
    return smooth(0.5 + 2.2 * wave)


# --- Outlines: functions on the sprite's plane, negative inside, zero on an outline of about radius 1 ---


def _polygon(rng: Generator, u: ndarray, v: ndarray) -> ndarray:
    """Three to six sides with rounded corners: a high norm of the distances to the sides."""
    sides = int(rng.integers(3, 7))
    turns = (tau * (i + 0.5) / sides + pi / 2 for i in range(sides))
    norm = sum(np.maximum(u * cos(a) + v * sin(a), 0) ** 7 for a in turns) ** (1 / 7)
    return norm - {3: 0.68, 4: 0.8, 5: 0.86, 6: 0.9}[sides]


def _flower(rng: Generator, u: ndarray, v: ndarray) -> ndarray:
    """A disc whose radius waves: petals."""
    petals, depth, radius = int(rng.integers(4, 8)), rng.uniform(0.1, 0.15), np.hypot(u, v)
    return radius - (0.88 + depth * smooth(1.4 * radius) * np.cos(petals * np.arctan2(u, -v)))


def _star(rng: Generator, u: ndarray, v: ndarray) -> ndarray:
    """Five or six rounded points: petals that narrow outwards."""
    points, radius = int(rng.integers(5, 7)), np.hypot(u, v)
    wave = np.cos(points * np.arctan2(u, -v))
    return radius - 0.76 * np.exp(smooth(1.6 * radius) * (0.26 * wave + 0.09 * (wave * wave - 0.5)))


def _heart(rng: Generator, u: ndarray, v: ndarray) -> ndarray:
    """An ellipse bent upwards on both sides."""
    bent = 1.08 * v + 0.74 * np.sqrt(u * u + 0.012) - 0.22
    return np.hypot(0.98 * u, bent) - 0.93


def _drop(rng: Generator, u: ndarray, v: ndarray) -> ndarray:
    """A disc drawn out to a rounded tip at its top."""
    narrowing = 1 + 0.62 * smooth((0.35 - v) / 1.4)
    return np.hypot(u * narrowing * 1.12, v) - 0.98


def _moon(rng: Generator, u: ndarray, v: ndarray) -> ndarray:
    """A disc with another taken out of its side."""
    side = int(rng.choice((-1, 1)))
    disc, bite = np.hypot(u, v) - 1, 0.56 - np.hypot(u - side * 0.74, v + 0.1)
    return 0.5 * (disc + bite + np.sqrt((disc - bite) ** 2 + 0.012))


SHAPES = (_polygon, _flower, _star, _heart, _drop, _moon)

# --- Textures: waves in [-1, 1] on the sprite's plane ---


def _stripes(rng: Generator, u: ndarray, v: ndarray) -> ndarray:
    slant, count = rng.uniform(0, pi), rng.uniform(1.1, 1.6)
    along, across = u * cos(slant) + v * sin(slant), v * cos(slant) - u * sin(slant)
    return np.sin(tau * count * across + 0.5 * np.sin(3 * along) + rng.uniform(0, tau))


def _rings(rng: Generator, u: ndarray, v: ndarray) -> ndarray:
    centre, count = rng.uniform(-0.4, 0.4, 2), rng.uniform(1.2, 1.6)
    return np.sin(tau * count * np.hypot(u - centre[0], v - centre[1]) + rng.uniform(0, tau))


def _dots(rng: Generator, u: ndarray, v: ndarray) -> ndarray:
    slant, count, shift = rng.uniform(0, pi), rng.uniform(1.1, 1.4), rng.uniform(0, tau, 2)
    along, across = u * cos(slant) + v * sin(slant), v * cos(slant) - u * sin(slant)
    return 0.5 * (np.cos(tau * count * along + shift[0]) + np.cos(tau * count * across + shift[1])) - 0.22


def _marble(rng: Generator, u: ndarray, v: ndarray) -> ndarray:
    return 3 * _noise(rng, 2.2 * (u[0] + SHEET_REACH), 2.2 * (v[:, 0] + SHEET_REACH)) - 1.5


def _pinwheel(rng: Generator, u: ndarray, v: ndarray) -> ndarray:
    arms, curl, start = int(rng.integers(2, 4)), rng.uniform(-1.6, 1.6), rng.uniform(0, tau)
    radius = np.hypot(u, v)
    return np.sin(arms * np.arctan2(u, -v) + curl * radius + start) * smooth(2.5 * radius)


TEXTURES = (_stripes, _rings, _dots, _marble, _pinwheel)
