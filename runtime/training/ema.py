"""Exponential moving average of the weights: a float32 twin of the model that is evaluated and released."""

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn


class EMA:
    """`average ← decay · average + (1 − decay) · weights`, in float32 whatever the training precision.

    `model` is a full copy in eval mode, so that evaluation and saving use it as it is. Early on the decay is
    held at (1 + n) / (10 + n), so that the random start is soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).float().eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Take in (name, float32 weight) pairs of every parameter, one at a time: under ZeRO each is made whole."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        averages = dict(self.model.named_parameters())
        for name, weight in weights:
            averages.pop(name).lerp_(weight, 1 - decay)
        assert not averages, f"no weights for the averages {list(averages)[:3]}"
        self.updates += 1

    def state_dict(self) -> dict:
        return {"model": self.model.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: dict) -> None:
        self.model.load_state_dict(state["model"])
        self.updates = state["updates"]
