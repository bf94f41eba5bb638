"""The loop that measures: batches through a model, what comes back into metrics, gathered over all processes."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from data.clips import skipped_files
from data.video.frames import to_float
from eval.coders.coder import Coded
from eval.reconstructions.outputs import Outputs
from runtime import distributed
from runtime.precision import full_precision
from runtime.progress import Progress

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

RECORD, FEATURES = "record", "features"


@dataclass(frozen=True)
class Scores:
    """Of everything that came back of one kind, clip by clip in the order of the data set.

    Attributes:
        metrics: `n t` of each, a value for each frame, or `n 1`, one for the clip.
        record: `n 4`: the clip's place in the data set, values of its latent, bits written for it, bits beside those;
            NaN where there are none.
        features: `n d`, where there is a network for them.
    """

    metrics: dict[str, Tensor]
    record: Tensor
    features: Tensor | None = None

    @property
    def places(self) -> list[int]:
        return self.record[:, 0].long().tolist()

    def by_clip(self, metric: str) -> Tensor:
        """`n`."""
        return self.metrics[metric].mean(1)


@full_precision()
@torch.inference_mode()
def measure(
    outputs_of: Outputs, loader: DataLoader, metrics: "dict[str, MetricCollection]", device: torch.device, what: str
) -> tuple[dict[str, Scores], list[str]]:
    """The scores of all outputs that there are `metrics` for, and the names of files that turned out bad.

    Called by every process with its share of the clips; all get the scores of all clips.
    """
    from eval.metrics.collection import with_record

    recorded = {name: with_record(collection).to(device) for name, collection in metrics.items()}
    skipped: set[str] = set()
    progress = Progress(what, sum(map(len, loader.batch_sampler)), "clips", show=distributed.is_main())
    for batch in loader:
        skipped |= skipped_files(batch)
        if batch["video"] is None:
            continue
        video, label = to_float(batch["video"].to(device)), batch["label"].to(device)
        places = batch.get("place", batch.get("video_index"))
        for name, coded in outputs_of(video).items():
            if name in recorded:
                record = record_of(coded, places).to(device)
                recorded[name].update(preds=coded.video, target=video, label=label, record=record)
        progress.advance(len(video))
    bad = sorted(set(distributed.gather(sorted(skipped))))
    return {name: in_order(collection) for name, collection in recorded.items()}, bad


def record_of(coded: Coded, places: Tensor) -> Tensor:
    """`b 4`, as `Scores.record` holds it."""
    count = len(places)
    given = (places, coded.values, coded.bits, coded.overhead)
    return torch.stack([as_column(each, count) for each in given], dim=1)


def as_column(given: Tensor | int | None, count: int) -> Tensor:
    if given is None:
        given = nan
    return torch.as_tensor(given, dtype=torch.float64, device="cpu").expand(count)


def in_order(collection: "MetricCollection") -> Scores:
    """Processes take turns at the clips; here these stand in their own order again.

    What is one number in all has lost its axes in torchmetrics.
    """
    found = {name: values.cpu() for name, values in collection.compute().items()}
    record = found.pop(RECORD)
    order = record[:, 0].argsort(stable=True)
    metrics = {name: values.reshape(len(record), -1)[order] for name, values in found.items()}
    return Scores(record=record[order], features=metrics.pop(FEATURES, None), metrics=metrics)


def as_tensors(scores: dict[str, Scores]) -> dict[str, Tensor]:
    """To be saved: `<output>/<metric>` of each."""
    named = {name: {**each.metrics, RECORD: each.record, FEATURES: each.features} for name, each in scores.items()}
    every = {f"{name}/{metric}": values for name, of in named.items() for metric, values in of.items()}
    return {name: values.contiguous() for name, values in every.items() if values is not None}


def from_tensors(tensors: dict[str, Tensor], outputs: Iterable[str]) -> dict[str, Scores]:
    """What `as_tensors` was given, the `outputs` in this order."""
    found: dict[str, dict[str, Tensor]] = {name: {} for name in outputs}
    for key, values in tensors.items():
        name, _, metric = key.partition("/")
        found[name][metric] = values
    return {
        name: Scores(record=of.pop(RECORD), features=of.pop(FEATURES, None), metrics=of) for name, of in found.items()
    }
