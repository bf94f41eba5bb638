"""The models that are compared, opened one after the other, and measured at most once."""

import argparse
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file
from torch.utils.data import DataLoader

from autoencoder.model import VidTwin
from eval.coders.coder import Coder
from eval.coders.vidtwin import VidTwinCoder
from eval.measures.windows import WindowDataset
from eval.reconstructions.judges import Judges
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

    def metrics(self, judges: Judges) -> "dict[str, MetricCollection]":
        """Of each output all that there is a network for; of real clips what networks see in them alone."""
        from eval.metrics.collection import clip_metrics, metrics_of_real

        found = {name: clip_metrics(*judges, "none") for name in self.outputs if name != REAL}
        if REAL in self.outputs and (judges.classifier or judges.features):
            found[REAL] = metrics_of_real(judges.classifier, judges.features, "none")
        return found


@dataclass(frozen=True)
class Entry:
    """A model as it is named on the command line, not opened yet.

    Attributes:
        given: what was written for it, without a name of its own.
    """

    name: str
    given: str
    open: Callable[[], Subject]


def open_subjects(args: argparse.Namespace, shape: tuple[int, int, int], device: torch.device) -> Iterator[Subject]:
    """The clip's own mean frame, our models, and peers, each opened when its turn comes.

    Raises `UserError` for two of one name, before any.
    """
    ours = [weights_entry(given, shape, device, not args.no_parts) for given in args.weights]
    entries = [*ours, *map(peer_entry, args.peers)]
    for number, entry in enumerate(entries):
        if entry.name in (other.name for other in entries[:number]):
            raise UserError(f"two models are called {entry.name}; name one of them: NAME={entry.given}")
    yield Subject(NO_MODEL, (TRIVIAL, REAL), of_nothing)
    yield from (entry.open() for entry in entries)


def weights_entry(given: str, shape: tuple[int, int, int], device: torch.device, parts: bool) -> Entry:
    """`[NAME=]DIR`."""
    name, _, folder = given.rpartition("=")
    name = name or folder
    return Entry(name, folder, partial(of_weights, name, folder, shape, device, parts))


def peer_entry(given: str) -> Entry:
    """`[NAME=]SPEC`, a spec as in `eval.coders.registry`; there may be a `=` in it, but after its colon only."""
    from eval.coders.registry import prepare_coder

    name, named, spec = given.partition("=")
    if not named or ":" in name:
        name, spec = "", given
    prepared = prepare_coder(spec)
    name = name or prepared.name
    return Entry(name, spec, lambda: of_peer(name, prepared.open()))


def of_peer(name: str, coder: Coder) -> Subject:
    return Subject(name, (WHOLE,), of_coder(coder), coder.identity)


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
    judges: Judges,
    device: torch.device,
    out: Path | None,
) -> dict[str, Scores]:
    """Its scores: those that an interrupted run has left beside `out`, or new ones, left there in turn."""
    part = out and parts_folder(out) / f"{identity_of(subject, clips, judges)}.safetensors"
    metrics = subject.metrics(judges)
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


def identity_of(subject: Subject, clips: WindowDataset, judges: Judges) -> str:
    """Names a model, the clips and what measures them."""
    named = [(clips.name(place), clips.first_frame(place)) for place in range(len(clips))]
    taken = clips.frames, clips.fps, clips.size, named
    settings = subject.name, subject.identity, subject.outputs, judges.identity, taken
    return hashlib.sha256(repr(settings).encode()).hexdigest()[:16]
