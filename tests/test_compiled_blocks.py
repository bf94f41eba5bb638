"""What the engine compiles is one graph a block, compiled once for all blocks of a kind, in the types it casts to."""

import copy

import pytest
import torch
from torch import nn

from autoencoder.losses.discriminator import PatchDiscriminator
from autoencoder.model import VidTwin
from data.latents import TwinLatents
from generator.dit import DiT
from runtime.training.engine import Engine, EngineConfig, cast_buffers, compile_blocks
from runtime.training.optimizer import OptimizerConfig

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


def dit(depth: int) -> tuple[nn.Module, tuple]:
    model = DiT(*SHAPES, 4, (4, 1, 1), (1, 6), width=16, depth=depth, num_heads=2, class_width=8)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)  # blocks begin as the identity
    numbers = torch.Generator().manual_seed(0)
    noisy = TwinLatents(*(torch.randn(3, *shape, generator=numbers) for shape in SHAPES))
    return model, (noisy, torch.tensor([10.0, 500.0, 990.0]), torch.arange(3))


def discriminator(_: int) -> tuple[nn.Module, tuple]:
    clip = torch.zeros(1, 3, 2, 32, 32, dtype=torch.bfloat16)
    return PatchDiscriminator(), (clip, clip)


def step(model: nn.Module, inputs: tuple) -> list[torch.Tensor]:
    """Outputs and gradients of a forward and backward pass; dropout and posterior samples are the same each time."""
    torch.manual_seed(1)
    first, *others = model(*inputs)
    outputs = [first, *(each for each in others if isinstance(each, torch.Tensor))]
    sum(each.float().square().mean() for each in outputs).backward()
    return [*outputs, *(p.grad for p in model.parameters() if p.grad is not None)]


@pytest.mark.parametrize(("make", "depth", "kinds"), [(vidtwin, 3, 5), (dit, 3, 1), (discriminator, 1, 1)])
def test_blocks_are_one_graph_each(make, depth, kinds):
    """VidTwin's kinds: blocks with and without positions in time; the Q-Former's first layer, whose queries are one for
    all clips, and its others with and without a context."""
    torch.manual_seed(0)
    model, inputs = make(depth)
    cast_buffers(model, torch.bfloat16)
    model.bfloat16().train()
    expected = step(copy.deepcopy(model), inputs)
    compile_blocks(model)
    torch._dynamo.reset()
    counters = torch._dynamo.utils.counters
    counters.clear()
    with torch.compiler.set_stance(force_backend="eager"):
        found = step(model, inputs)
    assert not counters["graph_break"]
    assert counters["stats"]["unique_graphs"] == kinds
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_an_engine_that_compiles_nothing_leaves_others_compiled(processes):
    """Two of one process; the second is compiled although the first, with a Muon that would compile itself, is not."""
    counters, optimizer = torch._dynamo.utils.counters, OptimizerConfig(name="muon", warmup_steps=1)
    inputs = torch.randn(4, 6)
    for compile, stage, graphs in (("off", 0, 0), ("on", 1, 1)):
        torch._dynamo.reset()
        counters.clear()
        with torch.compiler.set_stance(force_backend="eager"):
            module = nn.ModuleDict({"blocks": nn.ModuleList([nn.Linear(6, 6)])})
            module.forward = lambda x, module=module: module["blocks"][0](x).square().mean()
            config = EngineConfig(stage, "fp32", 1, compile=compile)
            engine = Engine(module, optimizer, config, micro_batch=4, total_steps=2)
            engine.backward(engine(inputs))
            engine.step()
        assert counters["stats"]["unique_graphs"] == graphs
