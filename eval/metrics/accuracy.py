"""Whether a classifier sees in a clip what it shows."""

from einops import rearrange
from torch import Tensor, nn

from eval.metrics.clips import ClipMetric, Reduction


class ClassifierAccuracy(ClipMetric):
    """1 for each clip that a `classifier` puts in the class of its label, 0 for any other.

    Args:
        classifier: clips `b c t h w` in [-1, 1] to logits `b k`.
    """

    higher_is_better = True

    def __init__(self, classifier: nn.Module, reduction: Reduction = "mean") -> None:
        super().__init__(reduction)
        self.classifier = classifier

    def update(self, preds: Tensor, label: Tensor) -> None:
        self.keep(rearrange(self.classifier(preds).argmax(1) == label, "b -> b 1"))
