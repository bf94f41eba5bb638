"""The two sides of a distance: opened, and refused where they cannot be compared."""

import sys
from argparse import Namespace
from pathlib import Path

from eval.features.feature_set import FeatureSet, Recipe, in_words, is_saved, load_features
from eval.videos.open import is_ucf101, open_source
from eval.videos.protocol import CUSTOM, PROTOCOLS, require
from eval.videos.source import Source
from eval.videos.window import Window
from generator.samples import SAMPLES
from runtime.errors import UserError

Side = Source | FeatureSet
SIDES = ("real", "generated")
TOLERANCE = 1.01  # 29.97 and 30 frames a second are alike


def open_sides(args: Namespace) -> tuple[Side, Side]:
    """Raises `UserError` for one path given twice, and for too few videos or others than a protocol asks for."""
    protocol, paths = PROTOCOLS[args.protocol], (args.real, args.generated)
    real, generated = (file_of(path) for path in paths)
    if real == generated:
        raise UserError(f"REAL and GENERATED are both {real}; its distance to itself says nothing of generated videos")
    if protocol.split and not (is_ucf101(args.real) or is_saved(args.real)):
        raise UserError(
            f"{args.protocol} measures against UCF-101's {protocol.split}list: give its folder (UCF-101/ and "
            f"ucfTrainTestlist/) as REAL, or use --protocol {CUSTOM}"
        )
    sides = tuple(open_side(path, args) for path in paths)
    wanted = f"UCF-101 {args.split}list{args.fold:02}"
    if protocol.split and sides[0].reference != wanted:
        raise UserError(f"{args.protocol} measures against {wanted}; {args.real} holds features of another set")
    check_rates(*sides, args.fps)
    for side, name, count in zip(sides, SIDES, (args.num_real, args.num_generated), strict=True):
        require(args.protocol, name, count, total(side))
    return sides


def file_of(path: Path) -> Path:
    """What is read of a path, which may have several names."""
    return (path / SAMPLES if (path / SAMPLES).is_file() else path).resolve()


def open_side(path: Path, args: Namespace) -> Side:
    if is_saved(path):
        return load_features(path)
    window = Window(args.frames, args.frame_stride, args.fps, args.seed)
    return open_source(path, window, args.split, args.fold, args.cache)


def total(side: Side) -> int:
    return side.count if isinstance(side, FeatureSet) else side.total


def size(side: Side) -> tuple[int, int] | None:
    return side.recipe.size if isinstance(side, FeatureSet) else side.size


def resizes(side: Side) -> bool:
    return not isinstance(side, FeatureSet) and side.resizes


def check_rates(real: Side, generated: Side, fps: float | None) -> None:
    """Raise `UserError` where the two sides' frames lie differently far apart in time; say where it is not known.

    Who asks for a rate, `fps`, knows that of arrays.
    """
    ours, theirs = real.rates, generated.rates
    if ours and theirs and (ours[0] > theirs[1] * TOLERANCE or theirs[0] > ours[1] * TOLERANCE):
        raise UserError(
            f"real clips run at {in_words(ours)}, generated ones at {in_words(theirs)}, and the distance would measure "
            "that; take both at one rate with --fps"
        )
    if ours and not theirs and not fps:
        warn(f"real clips run at {in_words(ours)}; if the arrays do not, give their rate with --fps")


def common_size(args: Namespace, real: Side, generated: Side) -> tuple[int, int]:
    """What clips of both sides are cut to: what is asked for, or what the side has that cannot be cut.

    Of two sides that can, a named protocol takes the generated one's.

    Raises:
        UserError: other sizes on the two sides, or within one, and no word of what to cut them to.
    """
    if args.size:
        return tuple(args.size)
    sizes = {size(side) for side in (real, generated) if not resizes(side)}
    sizes = sizes or ({size(real), size(generated)} if args.protocol == CUSTOM else {size(generated)})
    if len(sizes) == 1 and None not in sizes:
        return sizes.pop()
    if None in sizes:
        raise UserError("the videos differ in size; say with --size HEIGHT WIDTH what to cut them to")
    (h, w), (height, width) = size(real), size(generated)
    raise UserError(
        f"real videos have {h}x{w}, generated ones {height}x{width}; give both at one size, or say with --size HEIGHT "
        "WIDTH what to cut files to"
    )


def check_saved(args: Namespace, sides: tuple[Side, Side], recipe: Recipe) -> None:
    """Raise `UserError` for saved features that were made in another way than `recipe`, or cannot be checked."""
    for side, path in zip(sides, (args.real, args.generated), strict=True):
        if isinstance(side, FeatureSet) and (other := side.recipe.difference(recipe)):
            name, theirs, ours = other
            raise UserError(f"{path} holds features with {name} {theirs}, the other side has {ours}; make both alike")
    if args.checks and isinstance(sides[0], FeatureSet):
        raise UserError("--checks needs the real videos themselves, not saved statistics of them")


def check_different(real: FeatureSet, generated: FeatureSet) -> None:
    """Raise `UserError` where one side's videos are all the other's, too; say so where some are, or stand twice."""
    shared = len(set(real.keys) & set(generated.keys))
    if shared == min(len(set(real.keys)), len(set(generated.keys))):
        raise UserError(f"all {shared} videos of one side are among the other's; give two different sets")
    if shared:
        warn(f"{shared} videos are on both sides")
    for name, side in zip(SIDES, (real, generated), strict=True):
        if copies := side.count - len(set(side.keys)):
            warn(f"{copies} of {side.count} {name} videos are copies of others, which narrows their distribution")


def warn(message: str) -> None:
    print(f"warning: {message}", file=sys.stderr)
