"""Exponential moving average of the weights, kept where each process's share of the float32 weights lies."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

from runtime.engine.engine import Engine


class EMA:
    """`average ← decay · average + (1 − decay) · weights`, in float32 whatever the training precision.

    Updating is one fused operation on this process's share of the weights, without communication. Only inside `whole`
    are the averages of all processes put together, as a model in eval mode that can be evaluated and saved. Early on
    the decay is held at (1 + n) / (10 + n), so that the random start is soon forgotten.
    """

    def __init__(self, engine: Engine, twin: nn.Module, decay: float, prefix: str = "") -> None:
        """`twin`: a float32 copy of the engine's model, or of the part of it whose names begin with `prefix`."""
        self.engine, self.decay, self.prefix = engine, decay, prefix
        self.model = twin.to(engine.device).eval().requires_grad_(False)
        self.updates = 0
        self.shares = [weights.detach().clone() for weights in engine.master]
        self.leave_empty()

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights as they are after a step."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(self.shares, self.engine.master, 1 - decay)
        self.updates += 1

    @contextmanager
    def whole(self) -> Iterator[nn.Module]:
        """The averaged model, for as long as it is looked at. Every process must enter."""
        with self.in_place_of_weights():
            averages = {
                name.removeprefix(self.prefix): weight
                for name, weight in self.engine.master_weights()
                if name.startswith(self.prefix)
            }
        self.model.load_state_dict(averages, strict=False, assign=True)
        try:
            yield self.model
        finally:
            self.leave_empty()

    @contextmanager
    def in_place_of_weights(self) -> Iterator[None]:
        """Averages and weights have changed places, so that what gathers and sets weights does so with averages."""
        self.change_places()
        try:
            yield
        finally:
            self.change_places()

    @torch.no_grad()
    def change_places(self) -> None:
        for share, weights in zip(self.shares, self.engine.master, strict=True):
            kept = weights.clone()
            weights.copy_(share)
            share.copy_(kept)

    def leave_empty(self) -> None:
        """Between two looks the model holds its buffers only."""
        empty = {name: parameter.to("meta") for name, parameter in self.model.named_parameters()}
        self.model.load_state_dict(empty, strict=False, assign=True)

    def state_dict(self) -> dict:
        """Whole averages, so that any number of processes can continue. Every process must call it."""
        with self.whole() as model:
            return {"model": {name: each.cpu() for name, each in model.state_dict().items()}, "updates": self.updates}

    def load_state_dict(self, state: Mapping) -> None:
        with self.in_place_of_weights():
            self.engine.set_master_weights({self.prefix + name: each for name, each in state["model"].items()})
        self.updates = state["updates"]
