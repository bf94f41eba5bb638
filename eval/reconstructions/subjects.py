"""The models that are compared, opened one after the other, and measured at most once."""

import argparse
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import DataLoader

from autoencoder.model import VidTwin
from eval.coders.vidtwin import VidTwinCoder
from eval.measures.windows import WindowDataset
from eval.reconstructions.measure import Scores, as_tensors, from_tensors, measure
from eval.reconstructions.outputs import REAL, TRIVIAL, TWINS, WHOLE, Outputs, of_coder, of_nothing, of_twins
from runtime import distributed
from runtime.errors import UserError
from runtime.tensors import save_tensors
from runtime.weights import load_model, weights_hash

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

NO_MODEL = "no model"


@dataclass(frozen=True)
class Subject:
    """What is measured.

    Attributes:
        outputs: of what `outputs_of` gives, those that are measured.
        identity: names the model beyond doubt, its weights and all.
    """

    name: str
    outputs: tuple[str, ...]
    outputs_of: Outputs
    identity: str = ""

    def metrics(self, lpips: nn.Module | None, classifier: nn.Module | None) -> "dict[str, MetricCollection]":
        """Of each output all that there is a network for; of real clips what a classifier sees."""
        from eval.metrics.collection import accuracy_alone, clip_metrics

        found = {name: clip_metrics(lpips, classifier, "none") for name in self.outputs if name != REAL}
        if classifier and REAL in self.outputs:
            found[REAL] = accuracy_alone(classifier, "none")
        return found


def open_subjects(args: argparse.Namespace, shape: tuple[int, int, int], device: torch.device) -> Iterator[Subject]:
    """The clip's own mean frame, our models, and peers. Raises `UserError` for two of one name."""
    taken: set[str] = set()
    for subject in _all_subjects(args, shape, device):
        if subject.name in taken:
            raise UserError(f"two models are called {subject.name}; name one with NAME=DIR")
        taken.add(subject.name)
        yield subject


def _all_subjects(args: argparse.Namespace, shape: tuple[int, int, int], device: torch.device) -> Iterator[Subject]:
    yield Subject(NO_MODEL, (TRIVIAL, REAL), of_nothing)
    for given in args.weights:
        name, _, folder = given.rpartition("=")
        yield of_weights(name or folder, folder, shape, device, parts=not args.no_parts)
    for spec in args.peers:
        from eval.coders.registry import open_coder

        coder = open_coder(spec)
        yield Subject(coder.name, (WHOLE,), of_coder(coder), spec)


def of_weights(name: str, folder: str, shape: tuple[int, int, int], device: torch.device, parts: bool) -> Subject:
    """A model of ours, which takes clips of one shape alone."""
    model = load_model(VidTwin, folder).to(device)
    own = model.typed_config.video_shape
    if own != shape:
        asked, takes = ("x".join(map(str, each)) for each in (shape, own))
        raise UserError(f"{folder} takes clips of {takes}, not {asked}; leave it out or compare at its size")
    outputs_of = of_twins(model) if parts else of_coder(VidTwinCoder(name, model))
    return Subject(name, TWINS if parts else (WHOLE,), outputs_of, weights_hash(model))


def measured_once(
    subject: Subject,
    clips: WindowDataset,
    loader: DataLoader,
    networks: tuple[nn.Module | None, nn.Module | None],
    device: torch.device,
    out: Path | None,
) -> dict[str, Scores]:
    """Its scores: those that an interrupted run has left beside `out`, or new ones, left there in turn."""
    part = out and parts_folder(out) / f"{identity_of(subject, clips, networks)}.safetensors"
    metrics = subject.metrics(*networks)
    if part and distributed.on_main(part.is_file):
        return from_tensors(load_file(part), metrics)
    scores, _ = measure(subject.outputs_of, loader, metrics, device, subject.name)
    if part and distributed.is_main():
        part.parent.mkdir(exist_ok=True)
        save_tensors(part, as_tensors(scores))
    return scores


def parts_folder(out: Path) -> Path:
    """Where scores lie until all are there."""
    return out.with_name(f".{out.name}.parts")


def identity_of(subject: Subject, clips: WindowDataset, networks: tuple[nn.Module | None, nn.Module | None]) -> str:
    """Names a model, the clips and what measures them."""
    named = [(clips.name(place), clips.first_frame(place)) for place in range(len(clips))]
    judges = [network and weights_hash(network) for network in networks]
    settings = subject.name, subject.identity, subject.outputs, judges, clips.frames, clips.fps, clips.size, named
    return hashlib.sha256(repr(settings).encode()).hexdigest()[:16]
