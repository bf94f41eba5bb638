"""The diffusion transformer: starts silent, listens to everything, trains everywhere, saves exactly."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn

from data.latents import TwinLatents
from generator.config import DiTConfig
from generator.dit import DiT
from generator.network.attention import AttentionToTwo, HeadNorm, Rotation, SelfAttention
from generator.tokens import Statistics
from runtime.engine.engine import cast_buffers
from runtime.errors import UserError

CONFIG = DiTConfig(
    structure_shape=(3, 4, 2, 2),
    dynamics_shape=(2, 4, 6),
    num_classes=5,
    structure_patch=(2, 1, 2),
    dynamics_patch=(1, 3),
    width=32,
    depth=2,
    num_heads=4,
    class_width=8,
)
MODERN = {
    "conditioning": "adaln",
    "modulation": "shared",
    "norm": "rms",
    "qk_norm": False,
    "mlp": "swiglu",
    "positions": "rotary",
    "times": "separate",
}
VARIANTS = {"paper": {}, "modern": MODERN} | {name: {name: value} for name, value in MODERN.items()}


def make(variant: str = "paper", awake: bool = True, **fields: object) -> DiT:
    """A tiny model; awake, its parameters are moved off the zeros they start from."""
    torch.manual_seed(0)
    model = DiT(**dataclasses.asdict(CONFIG) | VARIANTS[variant] | fields)
    if awake:
        for parameter in model.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def inputs(batch: int = 3) -> tuple[TwinLatents, torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    noisy = TwinLatents(torch.randn(batch, *CONFIG.structure_shape), torch.randn(batch, *CONFIG.dynamics_shape))
    return noisy, torch.linspace(1, 999, batch), torch.arange(batch)


def test_the_defaults_of_model_and_config_agree():
    shapes = ((8, 16, 7, 7), (8, 16, 14), 101)
    with torch.device("meta"):
        model = DiT(*shapes)
    described = {k: tuple(v) if isinstance(v, list) else v for k, v in model.config.items() if not k.startswith("_")}
    assert described == dataclasses.asdict(
        DiTConfig(structure_shape=shapes[0], dynamics_shape=shapes[1], num_classes=shapes[2])
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_output_is_zero_at_the_start(variant):
    noisy, time, label = inputs()
    for prediction, x in zip(make(variant, awake=False)(noisy, time, label), noisy, strict=True):
        assert torch.equal(prediction, torch.zeros_like(x))


@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_every_input_reaches_both_outputs_of_its_own_sample_only(variant):
    model, (noisy, time, label) = make(variant), inputs()
    reference = model(noisy, time, label)
    structure, dynamics, other_time, other_label = (x.clone() for x in (*noisy, time, label))
    structure[1, 0, 0, 0, 0] += 1
    dynamics[1, 0, 0, 0] += 1
    other_time[1] += 100
    other_label[1] = model.null_label
    changes = [
        (TwinLatents(structure, noisy.dynamics), time, label),
        (TwinLatents(noisy.structure, dynamics), time, label),
        (noisy, other_time, label),
        (noisy, time, other_label),
    ]
    for changed in changes:
        for before, after in zip(reference, model(*changed), strict=True):
            moved = (after - before).flatten(1).abs().amax(1)
            assert moved[1] > 1e-4
            assert moved[[0, 2]].max() < 1e-5


@torch.no_grad()
def test_positions_matter():
    """Exchanging two frames of the input does not merely exchange them in the output."""
    model, (noisy, time, label) = make(), inputs()
    swap = [1, 0, 2, 3]
    straight = model(noisy, time, label).dynamics[:, :, swap]
    swapped = model(TwinLatents(noisy.structure, noisy.dynamics[:, :, swap]), time, label).dynamics
    assert (straight - swapped).abs().max() > 1e-2


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_parameter_gets_a_gradient(variant):
    model, (noisy, time, _) = make(variant), inputs()
    label = torch.tensor([0, 3, model.null_label])
    sum(x.square().mean() for x in model(noisy, time, label)).backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_checkpointing_changes_no_gradient():
    gradients = []
    for checkpointing in (False, True):
        model, (noisy, time, label) = make(), inputs()
        if checkpointing:
            model.enable_gradient_checkpointing()
        model.train()
        sum(x.square().mean() for x in model(noisy, time, label)).backward()
        gradients.append([p.grad for p in model.parameters()])
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, checkpointed, rtol=0, atol=0)


def test_self_attention_agrees_with_torch():
    torch.manual_seed(0)
    ours, theirs = SelfAttention(16, 4, qk_norm=False), torch.nn.MultiheadAttention(16, 4, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.query_key_value.weight)
        theirs.in_proj_bias.copy_(ours.query_key_value.bias)
        theirs.out_proj.weight.copy_(ours.out.weight)
        theirs.out_proj.bias.copy_(ours.out.bias)
    x = torch.randn(2, 5, 16)
    torch.testing.assert_close(ours(x), theirs(x, x, x, need_weights=False)[0])


def test_normalised_queries_and_keys_have_length_one():
    """Scores are then cosines times √d and gains: against the formula, gradients included."""
    torch.manual_seed(0)
    attention = SelfAttention(16, 2, qk_norm=True)
    nn.init.normal_(attention.gain)
    x = torch.randn(2, 5, 16, requires_grad=True)
    q, k, v = attention.query_key_value(x).view(2, 5, 3, 2, 8).permute(2, 0, 3, 1, 4)
    gains = attention.gain[..., None, None]
    q, k = (g * 8**0.5 * nn.functional.normalize(each, dim=-1) for each, g in zip((q, k), gains, strict=True))
    y = (q @ k.mT / 8**0.5).softmax(-1) @ v
    answers = attention.out(y.transpose(1, 2).reshape(2, 5, 16)), attention(x)
    torch.testing.assert_close(*answers, atol=1e-5, rtol=1e-4)
    wanted = [x, attention.gain, attention.query_key_value.weight]
    torch.testing.assert_close(
        *(torch.autograd.grad(answer.square().sum(), wanted) for answer in answers), atol=1e-4, rtol=1e-3
    )


@pytest.mark.parametrize("function", [HeadNorm, Rotation])
def test_backward_passes_of_our_own_are_those_of_finite_differences(function):
    torch.manual_seed(0)
    x = torch.randn(2, 3, 4, 6, dtype=torch.float64, requires_grad=True)
    other = torch.randn(3, 1, 1), torch.randn(2, 4, 3)
    numbers = [other[0].double().requires_grad_()] if function is HeadNorm else list(other[1].double())
    assert torch.autograd.gradcheck(function.apply, (x, *numbers))


def test_attention_to_two_vectors_agrees_with_torch():
    """With a query, key and value for every token: nn.MultiheadAttention, gradients included."""
    torch.manual_seed(0)
    ours = AttentionToTwo(16, 6, 4)
    theirs = torch.nn.MultiheadAttention(16, 4, kdim=6, vdim=6, batch_first=True)
    with torch.no_grad():
        theirs.q_proj_weight.copy_(ours.query.weight)
        key, value = ours.key_value.weight.chunk(2)
        theirs.k_proj_weight.copy_(key)
        theirs.v_proj_weight.copy_(value)
        theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.key_value.bias]))
        theirs.out_proj.weight.copy_(ours.out.weight)
        theirs.out_proj.bias.copy_(ours.out.bias)
    x, context = torch.randn(3, 5, 16, requires_grad=True), torch.randn(3, 2, 6)
    answers = ours(x, context, 2 * x), 2 * x + theirs(x, context, context, need_weights=False)[0]
    torch.testing.assert_close(*answers)
    ours_by = torch.autograd.grad(answers[0].square().sum(), [x, ours.query.weight, ours.out.weight])
    theirs_by = torch.autograd.grad(answers[1].square().sum(), [x, theirs.q_proj_weight, theirs.out_proj.weight])
    torch.testing.assert_close(ours_by, theirs_by)


def test_weights_and_statistics_survive_saving_bit_for_bit(tmp_path):
    model = make("modern")
    model.set_statistics(Statistics(torch.randn(3), torch.rand(3) + 0.1, torch.randn(2), torch.rand(2) + 0.1))
    model.save_pretrained(tmp_path)
    loaded, info = DiT.from_pretrained(tmp_path, local_files_only=True, output_loading_info=True)
    assert not any(info.values())
    assert loaded.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(x, loaded.state_dict()[name]) for name, x in model.state_dict().items())
    noisy, time, label = inputs()
    with torch.no_grad():
        for a, b in zip(model.eval()(noisy, time, label), loaded(noisy, time, label), strict=True):
            assert torch.equal(a, b)
    for a, b in zip(model.denormalise(noisy), loaded.denormalise(noisy), strict=True):
        assert torch.equal(a, b)
    assert loaded.config.conditioning == "adaln"


def saved_and_loaded(model: DiT, folder: Path) -> DiT:
    model.save_pretrained(folder)
    return DiT.from_pretrained(folder, local_files_only=True, torch_dtype=torch.bfloat16)


def cast_by_the_engine(model: DiT, _: Path) -> DiT:
    cast_buffers(model, torch.bfloat16)
    return nn.Sequential(model).bfloat16()[0]


CASTS = {
    "to": lambda model, _: model.to(torch.bfloat16),
    "half": lambda model, _: model.half(),
    "within": lambda model, _: nn.ModuleList([model]).to("cpu", torch.bfloat16)[0],
    "engine": cast_by_the_engine,
    "loaded": saved_and_loaded,
}


@pytest.mark.parametrize("cast", CASTS)
def test_a_cast_leaves_statistics_in_float32(cast, tmp_path):
    """Rounded to bfloat16 a mean of 10 would be off by up to 0.03, in every value of the channel."""
    model = make()
    statistics = Statistics(10 + torch.randn(3), 0.1 + torch.rand(3), torch.randn(2), 0.1 + torch.rand(2))
    model.set_statistics(statistics)
    noisy, _, _ = inputs()
    expected = model.denormalise(noisy)
    coarse = CASTS[cast](model, tmp_path)
    assert {p.element_size() for p in coarse.parameters()} == {2}
    assert coarse.position.element_size() == 2
    for found, exact in zip((*coarse.statistics, *coarse.denormalise(noisy)), (*statistics, *expected), strict=True):
        assert found.dtype == torch.float32
        assert torch.equal(found, exact)


def test_statistics_move_with_their_model():
    model = make().to("meta")
    assert {each.device.type for each in model.statistics} == {"meta"}
    assert {each.device.type for each in model.to_empty(device="cpu").statistics} == {"cpu"}


def test_positions_of_a_model_loaded_in_bfloat16_are_rounded_once(tmp_path):
    model = make()
    loaded = saved_and_loaded(model, tmp_path)
    assert torch.equal(loaded.position, model.position.bfloat16())


def test_it_runs_under_autocast_and_in_bfloat16():
    """Near the float32 result, and without the mixed-precision warnings that the test run turns into errors."""
    model, (noisy, time, label) = make(), inputs()
    with torch.no_grad():
        reference = model(noisy, time, label)
        with torch.autocast("cpu", torch.bfloat16):
            autocast = model(noisy, time, label)
        half = model.bfloat16()(noisy.to(torch.bfloat16), time, label)
    for predictions in (autocast, half):
        for x, exact in zip(predictions, reference, strict=True):
            assert x.dtype == torch.bfloat16
            assert (x - exact).norm() < 0.05 * exact.norm()


def test_mistakes_are_named():
    fields = dataclasses.asdict(CONFIG)
    with pytest.raises(UserError, match="multiple of num_heads 5"):
        DiT(**fields | {"num_heads": 5})
    with pytest.raises(UserError, match="standard deviation 0"):
        make().set_statistics(Statistics(torch.zeros(3), torch.zeros(3), torch.zeros(2), torch.ones(2)))
