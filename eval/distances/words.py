"""What it takes to repeat a distance, in a line: options that can be pasted, and facts behind a `#`."""

import shlex
from argparse import Namespace

from eval.features.feature_set import FeatureSet
from eval.metrics.gaussian import COVARIANCE
from eval.videos.protocol import CUSTOM

PIXELS = "uint8 [0, 255]; files: middle cut out, bilinear with antialiasing; arrays as they are"


def protocol_string(args: Namespace, real: FeatureSet, generated: FeatureSet) -> str:
    """After REAL and GENERATED on the command line it gives the same figure; a shell ignores what follows the `#`."""
    recipe = real.recipe
    given = {
        "protocol": args.protocol,
        "num_real": real.count if args.protocol == CUSTOM else None,
        "num_generated": generated.count if args.protocol == CUSTOM else None,
        "frames": recipe.frames,
        "frame_stride": recipe.frame_stride if recipe.fps is None else None,
        "fps": recipe.fps,
        "size": recipe.size,
        "split": args.split if args.protocol == CUSTOM else None,
        "fold": args.fold,
        "seed": args.seed,
        "feature_network": recipe.feature_network,
    }
    words = [word for name, value in given.items() if value is not None for word in option(name, value)]
    return f"{shlex.join(words)} # {'; '.join(facts(real, generated))}"


def option(name: str, value: object) -> list[str]:
    values = value if isinstance(value, tuple) else (value,)
    return [f"--{name}", *(f"{each:g}" if isinstance(each, float) else str(each) for each in values)]


def facts(real: FeatureSet, generated: FeatureSet) -> list[str]:
    recipe = real.recipe
    sides = [
        f"{name} {side.count} of {side.available}{f' ({side.reference})' if side.reference else ''} at {side.rate}"
        for name, side in (("real", real), ("generated", generated))
    ]
    height, width = recipe.size
    return [
        *sides,
        f"{recipe.frames} frames each, a window at random in a file, the first of an array",
        f"{height}x{width}, {PIXELS}",
        f"{recipe.feature_network}: {recipe.transform}",
        f"SHA-256 {recipe.sha256}",
        f"covariance {COVARIANCE}",
    ]
