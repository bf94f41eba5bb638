"""Moving averages of the weights, kept where each process's share of the float32 weights lies."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import torch
from torch import nn

from runtime import distributed
from runtime.engine.engine import Engine
from runtime.errors import UserError
from runtime.training.loop import LoopConfig
from runtime.training.power_average import Profile, power_decay
from runtime.training.snapshots import write_snapshot


def exponential_decay(decay: float) -> Callable[[int], float]:
    """What is left of the average at update 1, 2, ...: early on n / (9 + n), so the random start is soon forgotten."""
    return lambda update: min(decay, update / (9 + update))


class EMA:
    """`average ← decay · average + (1 − decay) · weights`, in float32 whatever the training precision.

    Updating is one fused operation on this process's share of the weights, without communication. Only inside `whole`
    are the averages of all processes put together, as a model that can be evaluated and saved.
    """

    def __init__(self, engine: Engine, model: nn.Module, decay: Callable[[int], float], prefix: str = "") -> None:
        """`model`: what a look at the averages fills: as the engine's, or the part whose names begin with `prefix`."""
        self.engine, self.model, self.decay, self.prefix = engine, model, decay, prefix
        self.updates = 0
        self.shares = [weights.detach().clone() for weights in engine.master]
        self.leave_empty()

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights as they are after a step."""
        self.updates += 1
        torch._foreach_lerp_(self.shares, self.engine.master, 1 - self.decay(self.updates))

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


class Averages:
    """A run's averages: one with exponential decay (`ema_decay`), or one of each of the `ema_widths`.

    The first is the one that is validated, previewed and written to `weights/ema`. All fill the same model, one at a
    time.
    """

    def __init__(self, engine: Engine, twin: nn.Module, loop: LoopConfig, prefix: str = "") -> None:
        """`twin`: a float32 copy of the engine's model, or of the part of it whose names begin with `prefix`."""
        self.widths, self.model = loop.ema_widths, twin.to(engine.device).eval().requires_grad_(False)
        decays = [power_decay(width) for width in self.widths] or [exponential_decay(loop.ema_decay)]
        self.each = [EMA(engine, self.model, decay, prefix) for decay in decays]

    def update(self) -> None:
        """After every step, also one that was left out: the profile of a width is one over steps."""
        for average in self.each:
            average.update()

    def whole(self) -> AbstractContextManager[nn.Module]:
        return self.each[0].whole()

    def write_snapshots(self, folder: Path, step: int) -> None:
        """One of each width; none of an exponential average. Every process must call it."""
        for width, average in zip(self.widths, self.each, strict=False):
            with average.whole() as model:
                distributed.on_main(partial(write_snapshot, folder, Profile(step, width), model))

    def state_dict(self) -> dict:
        return {"widths": list(self.widths), "averages": [average.state_dict() for average in self.each]}

    def load_state_dict(self, state: Mapping) -> None:
        """Raises `UserError` when other averages were kept: they cannot be begun in the middle."""
        if tuple(state["widths"]) != self.widths:
            before = ",".join(map(str, state["widths"]))
            raise UserError(
                f"this run was begun with --loop.ema_widths [{before}], which cannot change; continue with these, or "
                "begin a new run"
            )
        for average, saved in zip(self.each, state["averages"], strict=True):
            average.load_state_dict(saved)
