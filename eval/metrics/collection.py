"""The metrics of reconstructions, together."""

from torch import nn
from torchmetrics import MetricCollection

from eval.metrics.accuracy import ClassifierAccuracy
from eval.metrics.clips import ClipRecord, Reduction
from eval.metrics.pixels import LPIPS, PSNR, SSIM
from eval.metrics.temporal import TemporalPSNR


def clip_metrics(
    lpips: nn.Module | None = None, classifier: nn.Module | None = None, reduction: Reduction = "mean"
) -> MetricCollection:
    """`psnr`, `ssim`, `temporal_psnr`, and `lpips` and `accuracy` where there is a network for them.

    All take `update(preds=..., target=..., label=...)`, each what it needs of that; the label with a classifier only.
    """
    metrics = {"psnr": PSNR(reduction), "ssim": SSIM(reduction), "temporal_psnr": TemporalPSNR(reduction)}
    if lpips is not None:
        metrics["lpips"] = LPIPS(lpips, reduction)
    if classifier is not None:
        metrics["accuracy"] = ClassifierAccuracy(classifier, reduction)
    return together(metrics)


def accuracy_alone(classifier: nn.Module, reduction: Reduction = "mean") -> MetricCollection:
    """Of clips that are not compared with others: the real ones."""
    return together({"accuracy": ClassifierAccuracy(classifier, reduction)})


def with_record(metrics: MetricCollection) -> MetricCollection:
    """The same and `record`, which names the clip that each row of the others is of."""
    return together({**metrics, "record": ClipRecord()})


def together(metrics: dict[str, nn.Module]) -> MetricCollection:
    """Without torchmetrics' groups, which take metrics whose states are equal at first for one metric."""
    return MetricCollection(metrics, compute_groups=False)
