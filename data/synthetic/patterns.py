"""Outlines and textures of the sprites: each draws its parameters once and returns a function on the sprite's plane.

An outline is negative inside and zero on a line of about radius 1; a texture is a wave in [-1, 1].
"""

from collections.abc import Callable
from math import cos, pi, sin, tau

import numpy as np
from numpy import ndarray
from numpy.random import Generator

from data.synthetic.noise import draw_lattice, noise, smooth

SHEET_REACH = 1.7  # sprite radii from its centre to the edge of its plane

Field = Callable[[ndarray, ndarray], ndarray]


def polygon(rng: Generator) -> Field:
    """Three to six sides with rounded corners: a high norm of the distances to the sides."""
    sides = int(rng.integers(3, 7))
    turns = [tau * (i + 0.5) / sides + pi / 2 for i in range(sides)]
    size = {3: 0.68, 4: 0.8, 5: 0.86, 6: 0.9}[sides]
    return lambda u, v: sum(np.maximum(u * cos(a) + v * sin(a), 0) ** 7 for a in turns) ** (1 / 7) - size


def flower(rng: Generator) -> Field:
    """A disc whose radius waves: petals."""
    petals, depth = int(rng.integers(4, 8)), rng.uniform(0.1, 0.15)

    def level(u: ndarray, v: ndarray) -> ndarray:
        radius = np.hypot(u, v)
        return radius - (0.88 + depth * smooth(1.4 * radius) * np.cos(petals * np.arctan2(u, -v)))

    return level


def star(rng: Generator) -> Field:
    """Five or six rounded points: petals that narrow outwards."""
    points = int(rng.integers(5, 7))

    def level(u: ndarray, v: ndarray) -> ndarray:
        radius, wave = np.hypot(u, v), np.cos(points * np.arctan2(u, -v))
        return radius - 0.76 * np.exp(smooth(1.6 * radius) * (0.26 * wave + 0.09 * (wave * wave - 0.5)))

    return level


def heart(rng: Generator) -> Field:
    """An ellipse bent upwards on both sides."""

    def level(u: ndarray, v: ndarray) -> ndarray:
        bent = 1.08 * v + 0.74 * np.sqrt(u * u + 0.012) - 0.22
        return np.hypot(0.98 * u, bent) - 0.93

    return level


def drop(rng: Generator) -> Field:
    """A disc drawn out to a rounded tip at its top."""

    def level(u: ndarray, v: ndarray) -> ndarray:
        narrowing = 1 + 0.62 * smooth((0.35 - v) / 1.4)
        return np.hypot(u * narrowing * 1.12, v) - 0.98

    return level


def moon(rng: Generator) -> Field:
    """A disc with another taken out of its side."""
    side = int(rng.choice((-1, 1)))

    def level(u: ndarray, v: ndarray) -> ndarray:
        disc, bite = np.hypot(u, v) - 1, 0.56 - np.hypot(u - side * 0.74, v + 0.1)
        return 0.5 * (disc + bite + np.sqrt((disc - bite) ** 2 + 0.012))

    return level


def stripes(rng: Generator) -> Field:
    slant, count, start = rng.uniform(0, pi), rng.uniform(1.1, 1.6), rng.uniform(0, tau)

    def wave(u: ndarray, v: ndarray) -> ndarray:
        along, across = u * cos(slant) + v * sin(slant), v * cos(slant) - u * sin(slant)
        return np.sin(tau * count * across + 0.5 * np.sin(3 * along) + start)

    return wave


def rings(rng: Generator) -> Field:
    centre, count, start = rng.uniform(-0.4, 0.4, 2), rng.uniform(1.2, 1.6), rng.uniform(0, tau)
    return lambda u, v: np.sin(tau * count * np.hypot(u - centre[0], v - centre[1]) + start)


def dots(rng: Generator) -> Field:
    slant, count, shift = rng.uniform(0, pi), rng.uniform(1.1, 1.4), rng.uniform(0, tau, 2)

    def wave(u: ndarray, v: ndarray) -> ndarray:
        along, across = u * cos(slant) + v * sin(slant), v * cos(slant) - u * sin(slant)
        return 0.5 * (np.cos(tau * count * along + shift[0]) + np.cos(tau * count * across + shift[1])) - 0.22

    return wave


def marble(rng: Generator) -> Field:
    lattice = draw_lattice(rng, 4.4 * SHEET_REACH, 4.4 * SHEET_REACH)
    return lambda u, v: 3 * noise(lattice, 2.2 * (u[0] + SHEET_REACH), 2.2 * (v[:, 0] + SHEET_REACH)) - 1.5


def pinwheel(rng: Generator) -> Field:
    arms, curl, start = int(rng.integers(2, 4)), rng.uniform(-1.6, 1.6), rng.uniform(0, tau)

    def wave(u: ndarray, v: ndarray) -> ndarray:
        radius = np.hypot(u, v)
        return np.sin(arms * np.arctan2(u, -v) + curl * radius + start) * smooth(2.5 * radius)

    return wave


# A look's shape and texture are drawn by their places here.
SHAPES = (polygon, flower, star, heart, drop, moon)
TEXTURES = (stripes, rings, dots, marble, pinwheel)
