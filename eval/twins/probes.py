"""Linear probes: how much of each factor a ridge regression reads off a latent, beside pixels.

Inputs are the cached posterior means, the mean frame of each clip at 16×16 and its frames at 8×8; all are fitted on the
training split's clips, their strength is chosen on a fifth of its videos, and they are judged on the test split's.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from data.clips import ClipDataset, as_clip
from data.config import Split
from data.index import VideoIndex
from data.latents import LatentCache, TwinLatents
from data.latents.clips import ClipChoice
from data.latents.plan import MANIFEST
from data.synthetic.factors import Factors
from data.video.frames import to_float
from eval.twins.bootstrap import interval, resampled
from eval.twins.factors import QUANTITIES, Factor, factors_of
from eval.twins.ridge import Linear, Quality, accuracy, explained, fit_chosen, one_hot
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


def open_caches(run: Path, splits: Mapping[Split, VideoIndex]) -> dict[Split, LatentCache]:
    """The run's cached latents of these videos. Raises `UserError` where there are none, or of others."""
    folders = {split: run / "latents" / split for split in splits}
    if missing := [folder for folder in folders.values() if not (folder / MANIFEST).is_file()]:
        raise UserError(f"{missing[0]} holds no latents (python -m autoencoder.cache)")
    caches = {split: LatentCache(folder) for split, folder in folders.items()}
    if any(caches[split].clip_names.videos.names != index.names for split, index in splits.items()):
        raise UserError(f"{run / 'latents'} are of another data set")
    return caches


def read_latents(cache: LatentCache, clips: ClipDataset, known: dict[str, Factors] | None) -> ProbedClips:
    """What the cache holds of `clips`, which must be of its split and rate."""
    stored = cache.load(["structure_mean", "dynamics_mean", "video"])
    seen = [cache.clip_names.videos.names, cache.manifest["fps"]]
    if seen != [clips.index.names, clips.fps]:
        raise UserError(f"{cache.folder} holds latents of other videos than the data set's; give the run's own --data")
    latents = {name: stored[f"{name}_mean"].flatten(1) for name in TwinLatents._fields}
    labels = {factor.name: factor.labels(clips)[stored["video"]] for factor in factors_of(known)}
    classes = {factor.name: factor.classes or len(clips.index.classes) for factor in factors_of(known)}
    targets = {name: one_hot(each, classes[name]) for name, each in labels.items()}
    numbers = {quantity.name: [] for quantity in QUANTITIES if known}
    for video, frames, flip in _windows(cache, clips) if known else ():
        for quantity in QUANTITIES:
            found = quantity.value(known[clips.index.names[video]], frames.tolist(), -1 if flip else 1)
            numbers[quantity.name].append(torch.tensor(found))
    targets |= {name: torch.stack(each).double() for name, each in numbers.items()}
    return ProbedClips(latents, targets, stored["video"])


def read_clips(cache: LatentCache, clips: ClipDataset, known: dict[str, Factors] | None) -> ProbedClips:
    """As `read_latents`, and pixels beside the latents; `clips` must be of the model's size and lie in memory."""
    read, small = read_latents(cache, clips, known), {"mean frame": [], "frames": []}
    for video, frames, flip in track(_windows(cache, clips), len(cache), "reading", "clips"):
        pixels = to_float(as_clip(clips.stored[video][frames], flip))
        small["mean frame"].append(_shrunk(pixels.mean(1, keepdim=True), MEAN_SIDE))
        small["frames"].append(_shrunk(pixels, FRAME_SIDE))
    return replace(read, inputs=read.inputs | {name: torch.stack(each) for name, each in small.items()})


def _windows(cache: LatentCache, clips: ClipDataset) -> Iterator[tuple[int, Tensor, bool]]:
    """The video of each cached clip, the frames that it takes of it (`t`), and whether they are mirrored."""
    manifest, videos = cache.manifest, cache.clip_names.videos
    choice = ClipChoice(clips.frames, clips.fps, manifest["clips_per_video"], manifest["flipped"], manifest["seed"])
    for number, video in map(videos.place, range(len(cache))):
        frames, _, flip = choice.window(clips.index.videos[video], video, number)
        yield video, frames, flip


def _shrunk(pixels: Tensor, side: int) -> Tensor:
    """`c t h w` to `side`×`side`, flattened."""
    return F.adaptive_avg_pool2d(pixels, side).flatten()


def fit_probes(train: ProbedClips, given: str, classes: list[Factor]) -> dict[str, Linear]:
    """A linear map from one of the inputs to each target."""
    kept, qualities = train.video % KEPT == 0, quality_of(classes, train.targets)
    fits = fit_chosen(train.inputs[given], list(train.targets.values()), kept, list(qualities.values()))
    return dict(zip(train.targets, fits, strict=True))


def quality_of(classes: list[Factor], targets: Iterable[str]) -> dict[str, Quality]:
    """How each target is judged: classes by `accuracy`, numbers by `explained`."""
    named = {factor.name for factor in classes}
    return {name: accuracy if name in named else explained for name in targets}


def probe(train: ProbedClips, test: ProbedClips, classes: list[Factor]) -> dict[str, dict]:
    """By factor: the `measure` (accuracy, or R² of numbers), its `chance`, and value and interval for each input."""
    qualities, counts = quality_of(classes, train.targets), resampled(int(test.video.max()) + 1)
    found: dict[str, dict] = {
        name: {"measure": "accuracy", "chance": _chance(train, test, name)}
        if quality is accuracy
        else {"measure": "R2", "chance": 0.0}
        for name, quality in qualities.items()
    }
    for given in track(INPUTS, len(INPUTS), "probing", "inputs"):
        for name, fit in fit_probes(train, given, classes).items():
            judged = _hits if qualities[name] is accuracy else _explained
            parts = judged(fit(test.inputs[given]), test.targets[name])
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
