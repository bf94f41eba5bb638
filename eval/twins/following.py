"""How often what comes out of a swap follows each donor, factor by factor, and the one number of it.

**The decoupling score.** A swap shows structure of one clip with dynamics of another. For a factor, taken over the
pairs whose donors differ in it, let `right` be the share of swaps in which a judge sees the value of the donor whose
latent ought to carry it, `wrong` the share in which it sees the other donor's. The factor's score is

    (right - wrong) / (the same difference for the real clips of the right donors),

a latent's the mean over its factors, and the decoupling score the mean of the two latents'.

Why so. A difference, because what does not depend on the donors, be it grey or always the same, is as often like one as
like the other: 0, whatever chance is. Over real clips rather than reconstructions, because a judge's own mistakes are
not the model's, but blurred reconstructions are; a weak reconstruction thus lowers the score, and can never raise it.
Over both latents alike, so that three factors of appearance do not outvote one of motion: if all lies in one latent,
its factors score 1 and the other's -1, in the mean 0. Perfect twins score 1, twins the wrong way round -1.

A factor that real clips do not give away (the divisor below `FAINT`) is left out, and said to be.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from eval.twins.bootstrap import interval, resampled
from eval.twins.factors import Factor, Latent
from runtime.random import generator

FAINT = 0.5  # the least advantage of right over wrong on real clips at which a factor can be measured


class Pairs(NamedTuple):
    """Places of clips: the donors of structure and of dynamics, int64 `p` each, never the same."""

    structure: Tensor
    dynamics: Tensor


@dataclass(frozen=True)
class Judged:
    """What a judge of one factor sees, classes as int64.

    Attributes:
        labels: what the real clips are: `n`.
        real: what it sees in these: `n`.
        reconstructed: in what the model makes of each: `n`.
        swapped: in the swaps: `p`.
    """

    factor: Factor
    labels: Tensor
    real: Tensor
    reconstructed: Tensor
    swapped: Tensor


def draw_pairs(clips: int, partners: int, seed: int = 0) -> Pairs:
    """Every clip gives its structure `partners` times and its dynamics as often, to others at random."""
    numbers = generator("swaps", seed)
    circles = [torch.randperm(clips, generator=numbers) for _ in range(partners)]
    return Pairs(torch.cat(circles), torch.cat([circle.roll(-1) for circle in circles]))


def pair_weights(pairs: Pairs, clips: int) -> Tensor:
    """Every pair once, and then as often as both of its clips are drawn, `1 + draws, p`.

    Two clips make a pair and a clip makes several, so clips are drawn, not pairs (Owen 2007, the pigeonhole bootstrap).
    """
    counts = resampled(clips)
    drawn = counts[:, pairs.structure] * counts[:, pairs.dynamics]
    return torch.cat([torch.ones_like(drawn[:1]), drawn])


def share(hits: Tensor, weights: Tensor) -> Tensor:
    """Of weighted pairs, for each row of the weights."""
    return (weights * hits).sum(1) / weights.sum(1)


def with_interval(values: Tensor) -> dict[str, float | list[float]]:
    """The first as the value, the others as its bootstrap samples."""
    return {"value": values[0].item(), "interval": interval(values[1:])}


def follow(judged: Judged, pairs: Pairs) -> tuple[dict, Tensor | None]:
    """A factor's figures as they are reported, and its score with its samples (`1 + draws`), if it can be measured."""
    labels, factor = judged.labels, judged.factor
    donors = {"structure": labels[pairs.structure], "dynamics": labels[pairs.dynamics]}
    weights = pair_weights(pairs, len(labels)) * (donors["structure"] != donors["dynamics"])
    shares = {name: share(judged.swapped == each, weights) for name, each in donors.items()}
    figures = {
        "real": (judged.real == labels).double().mean().item(),
        "reconstruction": (judged.reconstructed == labels).double().mean().item(),
        "chance": (judged.real[:, None] == labels).double().mean().item(),
        "pairs": int((weights[0] > 0).sum()),
        **{name: with_interval(each) for name, each in shares.items()},
        "neither": with_interval(1 - shares["structure"] - shares["dynamics"]),
    }
    if factor.latent is None:
        return figures, None
    right = getattr(pairs, factor.latent)
    other = next(name for name in donors if name != factor.latent)

    def advantage(seen: Tensor) -> Tensor:
        return share((seen == donors[factor.latent]).double() - (seen == donors[other]).double(), weights)

    possible = advantage(judged.real[right])
    figures |= {"latent": factor.latent, "measurable": bool(possible[0] >= FAINT)}
    if not figures["measurable"]:
        return figures, None
    score = advantage(judged.swapped) / possible
    reconstructed = advantage(judged.reconstructed[right]) / possible
    return figures | {"score": with_interval(score), "reconstruction_score": with_interval(reconstructed)}, score


def summarise(scores: dict[str, tuple[Latent, Tensor]]) -> dict | None:
    """The decoupling score and those of the latents; None where a latent has no factor that can be measured."""
    latents = {
        latent: [score for own, score in scores.values() if own == latent] for latent in ("structure", "dynamics")
    }
    if not all(latents.values()):
        return None
    means = {latent: torch.stack(found).mean(0) for latent, found in latents.items()}
    both = torch.stack(list(means.values())).mean(0)
    return {**with_interval(both), "latents": {name: with_interval(each) for name, each in means.items()}}
