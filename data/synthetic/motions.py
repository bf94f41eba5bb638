"""The ten motions of the built-in data set: each draws its parameters once and returns where the sprite is at any time.

Lengths are in half-frames (half the height of the picture, the origin at its centre, y downwards), angles in radians,
times in seconds. Speed, amplitude, direction and starting phase vary from clip to clip. Every motion is as likely as
its mirror image, and its frequencies stay below 4 Hz, so that 8 frames a second show it. What would leave the picture
after `duration` goes to and fro, so that a clip may last as long as one likes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import copysign, cos, exp, pi, sin, tanh, tau

from numpy.random import Generator


@dataclass(frozen=True)
class Pose:
    """The sprite at one moment, relative to its place and size at rest."""

    x: float = 0.0
    y: float = 0.0
    angle: float = 0.0
    width: float = 1.0
    height: float = 1.0
    opacity: float = 1.0
    wave: float = 0.0  # how far a wave running through the body bends it, in sprite radii
    wave_phase: float = 0.0


Motion = Callable[[float], Pose]


def drift(rng: Generator, duration: float) -> Motion:
    """Straight crossings at constant speed."""
    heading, length, offset = rng.uniform(0, tau), rng.uniform(1.0, 1.2), rng.uniform(-0.12, 0.12)

    def at(time: float) -> Pose:
        along = length * (to_and_fro(time, duration) / duration - 0.5)
        return Pose(x=along * cos(heading) - offset * sin(heading), y=along * sin(heading) + offset * cos(heading))

    return at


def orbit(rng: Generator, duration: float) -> Motion:
    """A circle around the centre, the sprite staying upright."""
    radius, turn, start = rng.uniform(0.36, 0.44), _either_way(rng, tau * 0.5, tau * 0.7), rng.uniform(0, tau)
    return lambda time: Pose(x=radius * cos(turn * time + start), y=radius * sin(turn * time + start))


def bounce(rng: Generator, duration: float) -> Motion:
    """Hops of a ball on a floor: parabolas, and a squash at each landing."""
    floor, height, period = rng.uniform(0.36, 0.42), rng.uniform(0.65, 0.8), rng.uniform(0.7, 0.9)
    start, walk = rng.uniform(0, 1), _either_way(rng, 0, 0.1)

    def at(time: float) -> Pose:
        hop = (time / period + start) % 1
        squash = 0.22 * max(0.0, 1 - min(hop, 1 - hop) / 0.12)
        x, y = walk * (to_and_fro(time, duration) - duration / 2), floor - height * 4 * hop * (1 - hop)
        return Pose(x=x, y=y, width=1 + 0.6 * squash, height=1 - squash)

    return at


def spin(rng: Generator, duration: float) -> Motion:
    """Turning in place."""
    turn, start = _either_way(rng, tau * 0.5, tau * 0.8), rng.uniform(0, tau)
    return lambda time: Pose(angle=turn * time + start)


def swing(rng: Generator, duration: float) -> Motion:
    """A pendulum that hangs from a point above the sprite and tilts as it goes."""
    arm, reach = rng.uniform(0.75, 0.85), rng.uniform(0.6, 0.72)
    beat, start = tau / rng.uniform(1.2, 1.6), rng.uniform(0, tau)

    def at(time: float) -> Pose:
        tilt = reach * sin(beat * time + start)
        return Pose(x=arm * sin(tilt), y=arm * (cos(tilt) - 0.9), angle=-tilt)

    return at


def pulse(rng: Generator, duration: float) -> Motion:
    """Growing and shrinking in a steady beat."""
    depth, beat, start = rng.uniform(0.26, 0.34), tau * rng.uniform(1.0, 1.4), rng.uniform(0, tau)

    def at(time: float) -> Pose:
        scale = exp(depth * sin(beat * time + start))
        return Pose(width=scale, height=scale)

    return at


def zoom(rng: Generator, duration: float) -> Motion:
    """Coming nearer, or going away, at a constant rate."""
    growth = _either_way(rng, 0.95, 1.1)

    def at(time: float) -> Pose:
        scale = exp(growth * (to_and_fro(time, duration) / duration - 0.5))
        return Pose(width=scale, height=scale)

    return at


def shake(rng: Generator, duration: float) -> Motion:
    """A fast tremble that never settles: two directions at unrelated frequencies."""
    reach, start, direction = rng.uniform(0.18, 0.25), rng.uniform(0, tau, 2), rng.uniform(0, pi)
    beat = tau * rng.uniform(2.6, 3.0), tau * rng.uniform(3.1, 3.5)

    def at(time: float) -> Pose:
        a, b = (sin(beat[i] * time + start[i]) for i in range(2))
        x, y = reach * a, 0.6 * reach * b
        return Pose(
            x=x * cos(direction) - y * sin(direction), y=x * sin(direction) + y * cos(direction), angle=0.12 * b
        )

    return at


def ripple(rng: Generator, duration: float) -> Motion:
    """A wave that runs through the body as through a flag."""
    depth, beat, start = rng.uniform(0.17, 0.22), _either_way(rng, tau * 1.0, tau * 1.4), rng.uniform(0, tau)
    return lambda time: Pose(wave=depth, wave_phase=beat * time + start)


def blink(rng: Generator, duration: float) -> Motion:
    """Fading out and in again, quickly."""
    beat, start = tau / rng.uniform(0.65, 0.9), rng.uniform(0, tau)
    return lambda time: Pose(opacity=0.5 + 0.5 * tanh(4 * (sin(beat * time + start) + 0.2)))


def to_and_fro(time: float, duration: float) -> float:
    """Time itself up to `duration`, then back to 0 at the same pace, and so on."""
    lap = time % (2 * duration)
    return min(lap, 2 * duration - lap)


def _either_way(rng: Generator, low: float, high: float) -> float:
    """A number whose size is in [low, high) and whose sign is either with equal chance."""
    return copysign(rng.uniform(low, high), rng.uniform(-1, 1))


# A class's place in this table is its label.
MOTIONS: dict[str, Callable[[Generator, float], Motion]] = {
    "Drift": drift,
    "Orbit": orbit,
    "Bounce": bounce,
    "Spin": spin,
    "Swing": swing,
    "Pulse": pulse,
    "Zoom": zoom,
    "Shake": shake,
    "Ripple": ripple,
    "Blink": blink,
}
