"""What the clips of the built-in data set look like: a textured sprite on a background, in matching colours.

A look is designed, which draws all that is random about it, and painted once for a clip, larger than needed: the
background as a picture to pan over, the sprite as a sheet of colours, signed distances and surface slopes over its own
plane.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy import ndarray
from numpy.random import Generator
from torch import Tensor

from data.synthetic.noise import draw_lattice, noise, smooth
from data.synthetic.patterns import SHAPES, SHEET_REACH, TEXTURES, Field

HEIGHT, WIDTH = 240, 320
HALF = HEIGHT / 2  # pixels in a half-frame, the unit of lengths on the screen
PAN_MARGIN = 32  # pixels of background beyond each edge of the frame
SHEET_SIZE = 320  # texels across the sheet
COARSE, FINE = 1.3, 3.4  # places of the clouds' two octaves in a half-frame

Colour = tuple[float, float, float]  # lightness, chroma and hue in degrees, of OKLab (Ottosson, 2020)


@dataclass(frozen=True)
class Design:
    """All that is random about a look.

    Attributes:
        dark: whether the ground is, and the body light.
        ground: three quiet neighbouring colours; the one in the middle is the most frequent.
        body: two vivid ones, the first of which is the main one.
        clouds: two octaves of random values.
        bands: how strong the contour bands in the clouds are, 0 for none.
        shape, texture: names of functions of `data.synthetic.patterns`.
        radius: of the sprite at rest, in half-frames.
        angle: of the sprite at rest.
    """

    dark: bool
    ground: tuple[Colour, ...]
    body: tuple[Colour, ...]
    clouds: tuple[ndarray, ndarray]
    bands: float
    shape: str
    outline: Field
    texture: str
    pattern: Field
    radius: float
    angle: float


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


def design_look(rng: Generator) -> Design:
    """A random sprite on a random background, in colours that suit each other."""
    dark, ground, body = _draw_palette(rng)
    width, height = ((size + 2 * PAN_MARGIN - 1) / HALF for size in (WIDTH, HEIGHT))
    clouds = tuple(draw_lattice(rng, scale * width, scale * height) for scale in (COARSE, FINE))
    bands = float(rng.choice((0.0, 0.09)))
    shape = SHAPES[rng.integers(len(SHAPES))]
    outline = shape(rng)
    texture = TEXTURES[rng.integers(len(TEXTURES))]
    pattern = texture(rng)
    radius, angle = rng.uniform(0.46, 0.54), rng.uniform(-0.4, 0.4)
    return Design(dark, ground, body, clouds, bands, shape.__name__, outline, texture.__name__, pattern, radius, angle)


def paint(design: Design) -> Look:
    background, sheet = (torch.from_numpy(draw(design)) for draw in (_paint_background, _paint_sheet))
    return Look(background, sheet, design.radius, design.angle)


def _draw_palette(rng: Generator) -> tuple[bool, tuple[Colour, ...], tuple[Colour, ...]]:
    """`dark`, `ground` and `body` of a design."""
    hue = rng.uniform(0, 360)
    dark = rng.random() < 0.55
    light = rng.uniform(0.34, 0.42) if dark else rng.uniform(0.78, 0.86)
    chroma = rng.uniform(0.035, 0.06)
    ground = tuple((light + step * 0.075, chroma, hue + step * rng.uniform(15, 35)) for step in (-1, 0, 1))
    hue += rng.uniform(120, 240)
    main = rng.uniform(0.7, 0.77) if dark else rng.uniform(0.54, 0.62)
    accent = main + (rng.choice((-0.14, 0.11)) if dark else 0.15)
    body = (main, rng.uniform(0.12, 0.15), hue), (accent, rng.uniform(0.08, 0.12), hue + rng.choice((-1, 1)) * 40)
    return dark, ground, body


def to_srgb(colours: tuple[Colour, ...]) -> ndarray:
    """Colours of OKLab to sRGB in [0, 255], clipped to the gamut: `n c`."""
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


def _paint_background(design: Design) -> ndarray:
    """Soft clouds of two octaves, some with faint contour bands, blended from three colours: `h w c`."""
    colours = to_srgb(design.ground)
    y, x = (np.arange(size + 2 * PAN_MARGIN, dtype=np.float32) / np.float32(HALF) for size in (HEIGHT, WIDTH))
    coarse, fine = design.clouds
    clouds = 0.72 * noise(coarse, x * COARSE, y * COARSE) + 0.28 * noise(fine, x * FINE, y * FINE)
    level = (1.6 * (clouds - 0.5) + 0.5 + design.bands * np.sin(40 * clouds)).clip(0, 1) * 2
    lower = colours[0] + level.clip(0, 1)[..., None] * (colours[1] - colours[0])
    return lower + (level - 1).clip(0, 1)[..., None] * (colours[2] - colours[1])


def _paint_sheet(design: Design) -> ndarray:
    """The sprite as a table over its own plane, see `Look`."""
    colours = to_srgb(design.body)
    axis = np.linspace(-SHEET_REACH, SHEET_REACH, SHEET_SIZE, dtype=np.float32)
    v, u = np.meshgrid(axis, axis, indexing="ij")
    level = design.outline(u, v)
    texel = axis[1] - axis[0]
    gradient = np.stack(np.gradient(level, texel))
    # To first order, a smooth function that vanishes on the outline is a distance once divided by its slope.
    steepness = np.sqrt((gradient**2).sum(0))
    distance = level / np.maximum(steepness, 0.4)
    paint = _soft(design.pattern(u, v))[..., None]
    colour = colours[0] + paint * (colours[1] - colours[0])
    dome = ((distance + 0.42) / 0.42).clip(0, 1) ** 1.5  # flat in the middle, falling off towards the outline
    slope = gradient[::-1] / np.maximum(steepness, 0.4) * dome
    return np.stack([*np.moveaxis(colour, -1, 0), distance, *slope]).astype(np.float32)


def _soft(wave: ndarray) -> ndarray:
    """A wave in [-1, 1] to a pattern of two colours with soft seams, in [0, 1]."""
    return smooth(0.5 + 2.2 * wave)
