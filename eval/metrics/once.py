"""What keeps a metric of distributions from being used twice."""

from runtime.errors import UserError

SIDES = ("generated", "real")  # the states of a metric of two sets, in the order of `update(preds, target)`


class Once:
    """Before `torchmetrics.Metric` among the bases: what comes after a result is refused until `reset`.

    torchmetrics adds it in silence. A distance of distributions is not a mean that goes on: a second set of videos in
    the first one's statistics gives a plausible number.

    Attributes:
        given: whether `compute` has given the result.
    """

    given = False

    def require_open(self) -> None:
        """Raises `UserError` where the result is given."""
        if self.given:
            raise UserError(f"{type(self).__name__} has given its result; reset() it before other videos are measured")

    def reset(self) -> None:
        super().reset()
        self.given = False
