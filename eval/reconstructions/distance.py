"""FVD of what came back against the clips themselves: of all at once, since a distance has no value for one clip."""

import sys
from pathlib import Path

from eval.features.network import FeatureNetwork, open_network
from eval.metrics.gaussian import COVARIANCE, fit, frechet_distance
from eval.reconstructions.measure import Scores
from eval.reconstructions.outputs import REAL
from runtime import distributed
from runtime.errors import UserError

FEWEST = 2  # that have a covariance


def open_features(name: str, file: Path, frames: int) -> FeatureNetwork | None:
    """The network of that name; where clips of so many frames are not for it None, and a line that says why."""
    network = open_network(name, file)
    try:
        network.check(frames)
    except UserError as error:
        say(f"FVD is left out: {error}")
        return None
    return network


def distances(scores: dict[tuple[str, str], Scores]) -> dict[tuple[str, str], float]:
    """FVD by (model, output), where there are features; without enough clips none, and a line that says so."""
    [real] = [each.features for (_, output), each in scores.items() if output == REAL] or [None]
    if real is None:
        return {}
    count, dim = real.shape
    if count < FEWEST:
        say(f"FVD is left out: it needs at least {FEWEST} clips, there is {count}")
        return {}
    if count <= dim:
        say(f"warning: {count} clips give {dim} features a singular covariance: compare FVD with equally many only")
    clips = fit(real)
    return {key: frechet_distance(fit(each.features), clips) for key, each in scores.items() if key[1] != REAL}


def described(network: FeatureNetwork, clips: int) -> dict[str, object]:
    """What it takes to repeat such distances, beside what the clips are."""
    return {
        "against": "the clips themselves, rounded to 8 bits as what came back",
        "clips": clips,
        "features": {"network": network.name, "file": network.path.name, "sha256": network.sha256},
        "verified": network.sha256 in network.known,
        "transform": network.transform,
        "covariance": COVARIANCE,
    }


def say(message: str) -> None:
    if distributed.is_main():
        print(message, file=sys.stderr)
