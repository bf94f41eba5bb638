"""The rate that shares are taken of is that of real numbers."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from runtime import flops


class Products(TorchDispatchMode):
    """Keeps what is multiplied."""

    def __init__(self):
        super().__init__()
        self.factors = []

    def __torch_dispatch__(self, call, types, args=(), kwargs=None):
        if call is torch.ops.aten.mm.default:
            self.factors += args
        return call(*args, **(kwargs or {}))


def test_the_rate_is_measured_on_random_numbers(monkeypatch):
    monkeypatch.setitem(flops.SIDES, "cpu", 64)
    before = torch.get_rng_state()
    with Products() as seen:
        assert flops.matmul_rate.__wrapped__(torch.device("cpu"), torch.bfloat16) > 0
    assert torch.equal(torch.get_rng_state(), before)
    assert len(seen.factors) == 2 * (flops.REPEATS + 1)
    assert all(0.9 < factor.float().std() < 1.1 for factor in seen.factors)
