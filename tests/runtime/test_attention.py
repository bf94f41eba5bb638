"""Attention is one thing, whichever kernel computes it: forward and backward against softmax in float64."""

import pytest
import torch

from runtime.attention import attention, fused_causal_attention, plain_causal_attention

PRECISIONS = pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])


@pytest.fixture
def qkv():
    return torch.randn(3, 5, 2, 16, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def answer(attend, inputs):
    """Outputs and gradients."""
    inputs = inputs.detach().requires_grad_()
    out = attend(*inputs)
    (gradient,) = torch.autograd.grad(out.square().sum(), inputs)
    return torch.cat([out.double(), gradient.double().flatten(0, 1)])


def by_definition(q, k, v, hidden=None):
    scores = q @ k.mT / 8**0.5
    if hidden is not None:
        scores = scores.masked_fill(hidden, float("-inf"))
    return scores.softmax(-1) @ v


def by_definition_causal(q, k, v):
    return by_definition(q, k, v, torch.ones(16, 16).triu(1).bool())


@PRECISIONS
@pytest.mark.parametrize(
    ("attend", "meant"),
    [
        (attention, by_definition),
        (fused_causal_attention, by_definition_causal),
        (plain_causal_attention, by_definition_causal),
    ],
)
def test_every_kernel_computes_what_is_meant(qkv, attend, meant, dtype, tolerance):
    inputs = qkv.to(dtype)
    expected = answer(meant, inputs.double())
    assert (answer(attend, inputs) - expected).norm() < tolerance * expected.norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_leaves_out_its_share_of_weights(qkv, dtype):
    """With values that are all one, an output is the sum of its weights: one on average, but no longer one each."""
    q, k, v = qkv.to(dtype).requires_grad_()
    torch.manual_seed(0)
    sums = attention(q, k, torch.ones_like(v), 0.25).double()
    assert sums.mean().item() == pytest.approx(1, abs=0.05)
    assert sums.std() > 0.05
