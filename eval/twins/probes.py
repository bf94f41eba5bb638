"""Linear probes: how much of each factor a ridge regression reads off a latent, beside pixels.

Inputs are the cached posterior means, the mean frame of each clip at 16×16 and its frames at 8×8; all are fitted on the
training split's clips, their strength is chosen on a fifth of its videos, and they are judged on the test split's.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from data.clips import ClipDataset, as_clip
from data.latents import LatentCache
from data.latents.clips import ClipChoice
from data.synthetic.factors import Factors
from data.video.frames import to_float
from eval.twins.bootstrap import interval, resampled
from eval.twins.factors import QUANTITIES, Factor, factors_of
from eval.twins.ridge import accuracy, explained, fit_chosen, one_hot
from runtime.errors import UserError
from runtime.progress import track

INPUTS = ("structure", "dynamics", "mean frame", "frames")
KEPT = 5  # every fifth video chooses the strength
MEAN_SIDE, FRAME_SIDE = 16, 8


@dataclass(frozen=True)
class ProbedClips:
    """The clips of a cache: `inputs` by name `n d`, `targets` by name `n k`, and the `video` of each, int64 `n`."""

    inputs: dict[str, Tensor]
    targets: dict[str, Tensor]
    video: Tensor


def read_clips(cache: LatentCache, clips: ClipDataset, known: dict[str, Factors] | None) -> ProbedClips:
    """What the cache holds of `clips`, which must be of its split, rate and size and lie in memory."""
    manifest, stored = cache.manifest, cache.load(["structure_mean", "dynamics_mean", "video"])
    seen = [cache.clip_names.videos.names, cache.manifest["fps"]]
    if seen != [clips.index.names, clips.fps]:
        raise UserError(f"{cache.folder} holds latents of other videos than the data set's; give the run's own --data")
    choice = ClipChoice(clips.frames, clips.fps, manifest["clips_per_video"], manifest["flipped"], manifest["seed"])
    small, numbers = {"mean frame": [], "frames": []}, {quantity.name: [] for quantity in QUANTITIES if known}
    numbered = [cache.clip_names.videos.place(clip) for clip in range(len(cache))]
    for number, video in track(numbered, len(numbered), "reading", "clips"):
        indices, _, flip = choice.window(clips.index.videos[video], video, number)
        pixels = to_float(as_clip(clips.stored[video][indices], flip))
        small["mean frame"].append(_shrunk(pixels.mean(1, keepdim=True), MEAN_SIDE))
        small["frames"].append(_shrunk(pixels, FRAME_SIDE))
        for quantity in QUANTITIES if known else ():
            found = quantity.value(known[clips.index.names[video]], indices.tolist(), -1 if flip else 1)
            numbers[quantity.name].append(torch.tensor(found))
    latents = {name: stored[f"{name}_mean"].flatten(1) for name in ("structure", "dynamics")}
    labels = {factor.name: factor.labels(clips)[stored["video"]] for factor in factors_of(known)}
    classes = {factor.name: factor.classes or len(clips.index.classes) for factor in factors_of(known)}
    targets = {name: one_hot(each, classes[name]) for name, each in labels.items()}
    return ProbedClips(
        latents | {name: torch.stack(each) for name, each in small.items()},
        targets | {name: torch.stack(each).double() for name, each in numbers.items()},
        stored["video"],
    )


def _shrunk(pixels: Tensor, side: int) -> Tensor:
    """`c t h w` to `side`×`side`, flattened."""
    return F.adaptive_avg_pool2d(pixels, side).flatten()


def probe(train: ProbedClips, test: ProbedClips, classes: list[Factor]) -> dict[str, dict]:
    """By factor: the `measure` (accuracy, or R² of numbers), its `chance`, and value and interval for each input."""
    named = {factor.name for factor in classes}
    kept, counts = train.video % KEPT == 0, resampled(int(test.video.max()) + 1)
    qualities = [accuracy if name in named else explained for name in train.targets]
    found: dict[str, dict] = {
        name: {"measure": "accuracy", "chance": _chance(train, test, name)}
        if name in named
        else {"measure": "R2", "chance": 0.0}
        for name in train.targets
    }
    for given in track(INPUTS, len(INPUTS), "probing", "inputs"):
        fits = fit_chosen(train.inputs[given], list(train.targets.values()), kept, qualities)
        for (name, targets), fit in zip(test.targets.items(), fits, strict=True):
            parts = (_hits if name in named else _explained)(fit(test.inputs[given]), targets)
            samples = [counts @ _by_video(each, test.video, counts.shape[1]) for each in parts]
            value = parts[0].sum() / parts[1].sum()
            found[name][given] = {"value": value.item(), "interval": interval(samples[0] / samples[1])}
    return found


def _hits(found: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Right or not, and one, of each row: the sums' ratio is accuracy."""
    right = (found.argmax(1) == targets.argmax(1)).double()
    return right, torch.ones_like(right)


def _explained(found: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """What is explained of each row, and what there is to explain, columns in units of their variance: the sums' ratio
    is R².
    """
    spread = targets.var(0, correction=0)
    total = ((targets - targets.mean(0)).square() / spread).sum(1)
    return total - ((found - targets).square() / spread).sum(1), total


def _by_video(values: Tensor, video: Tensor, videos: int) -> Tensor:
    return torch.zeros(videos, dtype=torch.float64).index_add_(0, video, values)


def _chance(train: ProbedClips, test: ProbedClips, name: str) -> float:
    """What always saying the commonest class of the training split gives."""
    return test.targets[name][:, train.targets[name].sum(0).argmax()].mean().item()
