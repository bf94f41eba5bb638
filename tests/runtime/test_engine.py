"""A step after the backward pass: flat gradients, AdamW, Muon, the average."""

from collections import OrderedDict

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from autoencoder.model import VidTwin
from runtime.engine.config import EngineConfig
from runtime.engine.engine import Engine
from runtime.engine.optimizer import OptimizerConfig, is_hidden_matrix, put_steps_beside_weights
from runtime.engine.zero import newton_schulz, orthogonalised
from runtime.training.ema import EMA, exponential_decay


class Blocks(nn.Module):
    """As many linear maps as asked for, under the name by which Muon finds matrices."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(6, 6) for _ in range(count))
        self.head = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = x + block(x).tanh()
        return self.head(x).square().mean()


class Count(TorchDispatchMode):
    operations = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.operations += 1
        return function(*args, **(kwargs or {}))


def make(count: int, name: str, precision: str = "fp32", stage: int = 1, accumulation: int = 1) -> Engine:
    torch.manual_seed(0)
    config = EngineConfig(precision=precision, zero_stage=stage, accumulation=accumulation)
    return Engine(Blocks(count), OptimizerConfig(name=name, lr=0.01, warmup_steps=1), config, 4, 10)


def inputs(engine: Engine, number: int) -> torch.Tensor:
    numbers = torch.Generator().manual_seed(number)
    return torch.randn(4, 6, generator=numbers).to(engine.config.dtype)


@pytest.mark.parametrize("name", ["adam", "muon"])
def test_work_after_the_backward_pass_does_not_grow_with_the_parameters(processes, name):
    counts = []
    for blocks in (2, 20):
        engine = make(blocks, name)
        ema = EMA(engine, Blocks(blocks), exponential_decay(0.9))
        for step in range(2):
            engine.backward(engine(inputs(engine, step)))
            with Count() as count:
                engine.step()
                ema.update()
        counts.append(count.operations)
    views = 2 * 2 * (20 - 2)  # DeepSpeed sets each parameter to its view anew
    assert counts[1] - counts[0] <= 4 * views


@pytest.mark.parametrize(("stage", "accumulation"), [(0, 1), (1, 1), (1, 2)])
def test_adam_is_pytorchs(processes, stage, accumulation):
    engine = make(3, "adam", stage=stage, accumulation=accumulation)
    twin = Blocks(3)
    twin.load_state_dict(engine.module.state_dict())
    adam = torch.optim.AdamW(twin.parameters(), 0.01, (0.9, 0.99), weight_decay=1e-4)
    for step in range(3):
        for micro in range(accumulation):
            engine.backward(engine(inputs(engine, 10 * step + micro)))
            engine.step()
            (twin(inputs(engine, 10 * step + micro)) / accumulation).backward()
        adam.param_groups[0]["lr"] = engine.learning_rate
        adam.step()
        norm = torch.nn.utils.get_total_norm([p.grad for p in twin.parameters()])
        assert engine.gradient_norm == pytest.approx(norm.item(), rel=1e-5)
        adam.zero_grad()
    for mine, theirs in zip(engine.module.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=2e-6)


def test_bf16_gradients_are_added_up_in_float32(processes):
    engine, micro_batches = make(1, "adam", precision="bf16", accumulation=64), range(64)
    twin, total = Blocks(1).bfloat16(), torch.zeros(3)
    twin.load_state_dict(engine.module.state_dict())
    for micro in micro_batches:
        (gradient,) = torch.autograd.grad(twin(inputs(engine, micro)) / 64, twin.head.bias)
        total += gradient.float()
        engine.backward(engine(inputs(engine, micro)))
        if micro < micro_batches[-1]:
            engine.step()
    found = engine.optimizer.places[engine.module.head.bias]
    torch.testing.assert_close(found, total, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_states_rates_and_averages_of_a_bf16_run_are_those_of_float32(processes, stage):
    """Weights alone are coarse: what moves them is not, nor is the schedule, nor an average that hardly moves."""
    engine, exact = (make(2, "adam", precision, stage) for precision in ("bf16", "fp32"))
    ema = EMA(engine, Blocks(2), exponential_decay(0.9999))
    ema.updates = 10**6  # the start, in which it moves fast, is over
    before = [share.double() for share in ema.shares]
    for step in range(3):
        for each in (engine, exact):
            each.backward(each(inputs(each, step)))
            each.step()
        assert engine.learning_rate == exact.learning_rate
    ema.update()
    assert next(engine.module.parameters()).dtype == torch.bfloat16
    states = [each for state in engine.optimizer.optimizer.state.values() for each in state.values()]
    assert {each.dtype for each in (*engine.master, *ema.shares, *states)} == {torch.float32}
    assert len(states) >= 3
    for share, start, weights in zip(ema.shares, before, engine.master, strict=True):
        torch.testing.assert_close(share.double() - start, 1e-4 * (weights - start), rtol=1e-2, atol=1e-7)


def test_a_parameter_without_a_gradient_gets_none_of_the_step_before(processes):
    engine = make(2, "adam")
    engine.backward(engine(inputs(engine, 0)))
    engine.step()
    head = engine.module.head
    engine.backward(head(inputs(engine, 1)).square().mean())  # the blocks are not part of it
    assert not engine.optimizer.places[engine.module.blocks[0].weight].any()
    assert engine.optimizer.places[head.weight].any()


def test_matrices_of_a_shape_are_orthogonalised_as_one_by_one():
    numbers = torch.Generator().manual_seed(0)
    shapes = [(8, 8), (24, 8), (8, 24), (8, 8), (32, 16)]
    matrices = [torch.randn(shape, generator=numbers) for shape in shapes]
    for matrix, update in zip(matrices, orthogonalised(matrices), strict=True):
        assert update.shape == matrix.shape
        (alone,) = orthogonalised([matrix])
        torch.testing.assert_close(update, alone, rtol=0, atol=2e-2)
        scale = max(1, matrix.shape[0] / matrix.shape[1]) ** 0.5
        values = torch.linalg.svdvals(update / scale)
        assert values.min() > 0.6
        assert values.max() < 1.3
        u, _, v = torch.linalg.svd(matrix, full_matrices=False)
        assert torch.nn.functional.cosine_similarity((u @ v).flatten(), update.flatten(), dim=0) > 0.95


def test_newton_schulz_follows_its_polynomial():
    """Of a diagonal matrix: each singular value x goes to a·x + b·x³ + c·x⁵, five times, as far as bfloat16 tells."""
    values = torch.tensor([0.8, 0.5, 0.3, 0.1])
    x = values / values.norm()
    for _ in range(5):
        x = 3.4445 * x - 4.7750 * x**3 + 2.0315 * x**5
    found = newton_schulz(values.diag()[None])[0].float().diagonal()
    torch.testing.assert_close(found, x, rtol=0.1, atol=0.0)


def test_a_kernel_is_orthogonalised_as_the_matrix_of_its_convolution():
    kernel = torch.randn(8, 5, 3, 3, generator=torch.Generator().manual_seed(0))
    found, of_matrix = (orthogonalised([each])[0] for each in (kernel, kernel.flatten(1)))
    assert found.shape == kernel.shape
    torch.testing.assert_close(found.flatten(1), of_matrix, rtol=0, atol=0)


def test_muon_moves_the_matrices_of_hidden_layers():
    """Not what takes or gives pixels, nor learned vectors, nor the map from queries to frames."""
    model = VidTwin(frames=2, height=8, width=8, patch=(1, 8, 8), dim=16, encoder_depth=1, decoder_depth=1, num_heads=2)
    moved = {name for name, each in model.named_parameters() if is_hidden_matrix(name, each)}
    others = {name for name, each in model.named_parameters() if each.ndim > 1} - moved
    assert {name.rpartition(".")[0].rpartition(".")[2] for name in others if "modulation" not in name} == {
        "proj", "linear", "qformer", "queries_to_frames"
    }  # fmt: skip
    assert {"extract_structure.conv_in.weight", "encoder.transformer.blocks.0.mlp.fc1.weight"} < moved


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_every_stage_that_has_muon_moves_kernels(processes, stage):
    """By Muon where gradients are flat, else by Adam: DeepSpeed's own Muon fails at them."""
    module = nn.Sequential(
        OrderedDict(extract_structure=nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten(), nn.Linear(4, 4)))
    )
    before = [parameter.detach().clone() for parameter in module.parameters()]
    engine = Engine(
        module, OptimizerConfig(name="muon", warmup_steps=1), EngineConfig(stage, "fp32", accumulation=1), 4, 10
    )
    engine.backward(engine(torch.ones(4, 2, 3, 3)).square().mean())
    engine.step()
    assert [each.use_muon for each in module.parameters()] == [stage > 0, False, True, False]
    assert not any(torch.equal(*pair) for pair in zip(before, module.parameters(), strict=True))


def test_step_counts_lie_on_the_device_of_their_weights():
    """Loaded from a universal checkpoint they are on the CPU, where fused AdamW on another device refuses them."""
    weight = nn.Parameter(torch.empty(2, device="meta"))
    optimizer = torch.optim.AdamW([weight])
    optimizer.state[weight] = {"step": torch.tensor(3.0)}
    put_steps_beside_weights(optimizer)
    assert optimizer.state[weight]["step"].device == weight.device
