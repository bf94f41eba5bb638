"""What two sets of features give: the distance, and what tells how far to trust it."""

from argparse import Namespace

from torch import Tensor

from eval.distances.checks import floor, order
from eval.distances.resampling import LEVEL, interval, sweep
from eval.distances.sides import SIDES, check_different, warn
from eval.distances.words import protocol_string
from eval.features.feature_set import FeatureSet
from eval.features.network import NETWORKS
from eval.metrics.gaussian import COVARIANCE, fit, frechet_distance
from eval.metrics.mmd import kernel_distance
from eval.videos.protocol import require


def figures(args: Namespace, real: FeatureSet, generated: FeatureSet) -> dict[str, object]:
    """All that the JSON file holds but the checks, which need more videos."""
    for side, name, wanted in zip((real, generated), SIDES, (args.num_real, args.num_generated), strict=True):
        require(args.protocol, name, wanted, side.count)  # some may have turned out broken
    warn_of_few(real, generated)
    recipe = real.recipe
    distance = frechet_distance(fit(real.features), fit(generated.features))
    check_different(real, generated)
    return {
        "fvd": distance,
        **spread(args, real.features, generated.features, distance),
        "kernel_distance": kernel_distance(real.features, generated.features),
        "num_real": real.count,
        "num_generated": generated.count,
        "protocol": args.protocol,
        "protocol_string": protocol_string(args, real, generated),
        "features": {"network": recipe.feature_network, "file": recipe.weights, "sha256": recipe.sha256},
        "verified": recipe.sha256 in NETWORKS[recipe.feature_network].known,
        "covariance": COVARIANCE,
        "clips": {
            "frames": recipe.frames,
            "frame_stride": recipe.frame_stride,
            "fps": recipe.fps,
            "size": recipe.size,
            "seed": args.seed,
        },
        "real": described(real),
        "generated": described(generated),
    }


def spread(args: Namespace, real: Tensor, generated: Tensor, distance: float) -> dict[str, object]:
    """Interval and sweep, without which a figure is one number; nothing where they are switched off."""
    if not args.resamples:
        return {}
    low, high = interval(real, generated, distance, args.resamples, args.seed)
    by_count = sweep(real, generated, args.seed)
    if by_count.limit is None:
        warn(f"too few videos to extrapolate to infinitely many: half of them must exceed the {real.shape[1]} features")
    return {
        "interval": [low, high],
        "bootstrap": {"level": LEVEL, "resamples": args.resamples, "about": "figures of as many videos"},
        "fvd_infinity": by_count.limit,
        "sweep": [point._asdict() for point in by_count.points],
        "slope": by_count.slope,
    }


def checks(seed: int, real: Tensor, more: Tensor, shuffled: Tensor, generated: Tensor) -> dict[str, object]:
    """Real against real, and real against itself without motion."""
    lowest, in_order = floor(real, more, generated, seed), order(real, shuffled, seed)
    if not in_order.passed:
        warn("real videos with shuffled frames score no worse than in order: these features do not see motion")
    return {"floor": lowest._asdict(), "order": {**in_order._asdict(), "passed": in_order.passed}}


def warn_of_few(real: FeatureSet, generated: FeatureSet) -> None:
    fewest, dim = min(real.count, generated.count), real.features.shape[1]
    if fewest <= dim:
        warn(
            f"{fewest} videos give {dim} features a singular covariance: compare only with equally many videos, and "
            "look at the kernel distance"
        )


def described(side: FeatureSet) -> dict[str, object]:
    return {
        "path": side.path,
        "available": side.available,
        "left_out": list(side.left_out),
        "faults": side.left_out,
        "fps": side.rates,
        "reference": side.reference,
    }
