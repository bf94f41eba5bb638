"""What the engine compiles is one graph a block, compiled once for all blocks of a kind, in the types it casts to."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import nn

from autoencoder.losses.discriminator import PatchDiscriminator
from autoencoder.model import VidTwin
from data.latents import TwinLatents
from generator.dit import DiT
from runtime.engine.compilation import compile_parts, compiled_parts
from runtime.engine.config import EngineConfig
from runtime.engine.engine import Engine
from runtime.engine.optimizer import OptimizerConfig
from runtime.engine.prepare import cast_buffers

# PyTorch hides this warning of its own where it is shown, which is too late where warnings are errors.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")

VIDTWIN = {
    "frames": 4, "height": 16, "width": 24, "patch": (1, 8, 8), "dim": 16, "num_heads": 2, "num_queries": 2,
    "query_dim": 8, "qformer_heads": 2, "qformer_hidden": 16, "structure_channels": 2, "structure_conv_dim": 8,
    "structure_halvings": 0, "dynamics_channels": 2, "dynamics_halvings": 0, "dropout": 0.1,
}  # fmt: skip
SHAPES = ((2, 4, 3, 3), (2, 4, 6))


def video() -> torch.Tensor:
    return torch.rand(2, 3, 4, 16, 24, generator=torch.Generator().manual_seed(0)).mul(2).sub(1).bfloat16()


def vidtwin(depth: int) -> tuple[nn.Module, tuple]:
    return VidTwin(**VIDTWIN, encoder_depth=depth, decoder_depth=depth, qformer_depth=depth), (video(),)


def dit(depth: int, **fields: str) -> tuple[nn.Module, tuple]:
    model = DiT(*SHAPES, 4, (4, 1, 1), (1, 6), width=16, depth=depth, num_heads=2, class_width=8, **fields)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)  # blocks begin as the identity
    numbers = torch.Generator().manual_seed(0)
    noisy = TwinLatents(*(torch.randn(3, *shape, generator=numbers) for shape in SHAPES))
    return model, (noisy, torch.tensor([10.0, 500.0, 990.0]), torch.arange(3))


def modern_dit(depth: int) -> tuple[nn.Module, tuple]:
    """Of the ingredients of configs/stage2/modern.yaml."""
    fields = {"conditioning": "adaln", "modulation": "shared", "norm": "rms", "mlp": "swiglu", "positions": "rotary"}
    model, (noisy, time, label) = dit(depth, **fields, times="separate")
    return model, (noisy, torch.stack([time, time.flip(0)], dim=1), label)


def discriminator(_: int) -> tuple[nn.Module, tuple]:
    clip = torch.zeros(1, 3, 1, 24, 24, dtype=torch.bfloat16)
    return PatchDiscriminator(), (clip, clip)


def step(model: nn.Module, inputs: tuple) -> list[torch.Tensor]:
    """Outputs and gradients of a forward and backward pass; dropout and posterior samples are the same each time."""
    torch.manual_seed(1)
    first, *others = model(*inputs)
    outputs = [first, *(each for each in others if isinstance(each, torch.Tensor))]
    sum(each.float().square().mean() for each in outputs).backward()
    return [*outputs, *(p.grad for p in model.parameters() if p.grad is not None)]


@contextmanager
def counted() -> Iterator[dict]:
    """What is compiled inside, by Dynamo alone; code of earlier compilations is forgotten."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    with torch.compiler.set_stance(force_backend="eager"):
        yield torch._dynamo.utils.counters


def assert_whole(counters: dict, kinds: int) -> None:
    assert not counters["graph_break"]
    assert counters["stats"]["unique_graphs"] == kinds


@pytest.mark.parametrize(
    ("make", "depth", "kinds", "apart"),
    [(vidtwin, 3, 5, 0), (dit, 3, 1, 0), (modern_dit, 3, 1, 2**-5), (discriminator, 1, 1, 0)],
)
def test_blocks_are_one_graph_each(make, depth, kinds, apart):
    """VidTwin's kinds: blocks with and without positions in time; the Q-Former's first layer, whose queries are one for
    all clips, and its others with and without a context. Of a rotation, Dynamo rounds the products before their
    difference is taken (bfloat16 has 2⁻⁸)."""
    torch.manual_seed(0)
    model, inputs = make(depth)
    cast_buffers(model, torch.bfloat16)
    model.bfloat16().train()
    expected = step(copy.deepcopy(model), inputs)
    compile_parts(compiled_parts(model, zero_stage=1))
    with counted() as counters:
        found = step(model, inputs)
    assert_whole(counters, kinds)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=apart * other.abs().max().item())


def gradient_norm(compile: str, stage: int, optimizer: str) -> float:
    """Of a step of an engine, which takes it."""
    torch.manual_seed(0)
    model, inputs = dit(2)
    config = EngineConfig(stage, "fp32", 1, compile=compile)
    engine = Engine(model, OptimizerConfig(optimizer, warmup_steps=1), config, micro_batch=3, total_steps=2)
    engine.backward(sum(each.square().mean() for each in engine(*inputs)))
    engine.step()
    return engine.gradient_norm


@pytest.mark.parametrize("stage", [1, 3])
def test_engines_of_one_process_compile_as_each_was_told(processes, stage):
    """The first one's Muon would compile itself. At stage 3, DeepSpeed's hooks stay out of the second one's graph."""
    with counted() as counters:
        gradient_norm("off", 0, "muon")
        expected = gradient_norm("off", stage, "adam")
        assert_whole(counters, 0)
        assert gradient_norm("on", stage, "adam") == pytest.approx(expected, rel=1e-5)
        assert_whole(counters, 1)
