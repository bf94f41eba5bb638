"""The metrics of reconstructions, together."""

from torch import nn
from torchmetrics import MetricCollection

from eval.features.network import FeatureNetwork
from eval.metrics.accuracy import ClassifierAccuracy
from eval.metrics.clips import ClipRecord, Reduction
from eval.metrics.fvd import ClipFeatures
from eval.metrics.pixels import LPIPS, PSNR, SSIM
from eval.metrics.temporal import TemporalPSNR


def clip_metrics(
    lpips: nn.Module | None = None,
    classifier: nn.Module | None = None,
    features: FeatureNetwork | None = None,
    reduction: Reduction = "mean",
) -> MetricCollection:
    """`psnr`, `ssim`, `temporal_psnr`, and `lpips`, `accuracy` and `features` where there is a network for them.

    All take `update(preds=..., target=..., label=...)`, each what it needs of that; the label with a classifier only.
    """
    metrics = {"psnr": PSNR(reduction), "ssim": SSIM(reduction), "temporal_psnr": TemporalPSNR(reduction)}
    if lpips is not None:
        metrics["lpips"] = LPIPS(lpips, reduction)
    return together({**metrics, **seen_by(classifier, features, reduction)})


def metrics_of_real(
    classifier: nn.Module | None, features: FeatureNetwork | None, reduction: Reduction = "mean"
) -> MetricCollection:
    """`accuracy` and `features`: of clips that are not compared with others."""
    return together(seen_by(classifier, features, reduction))


def seen_by(
    classifier: nn.Module | None, features: FeatureNetwork | None, reduction: Reduction
) -> dict[str, nn.Module]:
    """What networks see in a clip alone, as far as there are such."""
    seen = {"accuracy": ClassifierAccuracy(classifier, reduction)} if classifier is not None else {}
    return {**seen, **({"features": ClipFeatures(features)} if features is not None else {})}


def with_record(metrics: MetricCollection) -> MetricCollection:
    """The same and `record`, which names the clip that each row of the others is of."""
    return together({**metrics, "record": ClipRecord()})


def together(metrics: dict[str, nn.Module]) -> MetricCollection:
    """Without torchmetrics' groups, which take metrics whose states are equal at first for one metric."""
    return MetricCollection(metrics, compute_groups=False)
