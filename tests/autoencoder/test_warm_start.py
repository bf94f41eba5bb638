"""Weights of one geometry begin a model of another; whatever else differs is refused by name."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from autoencoder.model import VidTwin
from autoencoder.release import from_release
from autoencoder.stage1.warm_start import interpolated, repeated, stretch, warm_start
from runtime.errors import UserError
from runtime.weights import save_model, weights_hash

RELEASED = Path(__file__).parents[1] / "fixtures/tiny.weights.safetensors"
FIELDS = {
    "frames": 4,
    "height": 32,
    "width": 32,
    "patch": (1, 8, 8),
    "dim": 32,
    "encoder_depth": 1,
    "decoder_depth": 1,
    "num_heads": 4,
    "num_queries": 3,
    "query_dim": 16,
    "qformer_depth": 2,
    "qformer_heads": 2,
    "qformer_hidden": 24,
    "structure_conv_dim": 8,
}
LENGTHEN = "expand_dynamics.lengthen"


def build(seed=0, **changes):
    torch.manual_seed(seed)
    return VidTwin(**FIELDS | changes).eval()


@pytest.fixture
def save(tmp_path):
    def save(model):
        save_model(model, tmp_path / "weights")
        return tmp_path / "weights"

    return save


def test_the_same_geometry_is_copied_exactly(save):
    trained, model = build(0), build(1, dropout=0.0)
    assert warm_start(model, save(trained)) == []
    assert weights_hash(model) == weights_hash(trained)


def test_a_released_checkpoint_is_copied_exactly():
    trained = from_release(load_file(RELEASED), num_heads=4)
    model = VidTwin.from_config_fields(trained.typed_config)
    assert warm_start(model, RELEASED) == []
    assert weights_hash(model) == weights_hash(trained)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {"frames": 8}, ["expand_structure.queries_to_frames: stretched from 4x3x1 to 8x3x1"]),
        (
            {},
            {"height": 64, "width": 64},
            [f"{LENGTHEN}.0.0: stretched from 4x2 to 8x4", f"{LENGTHEN}.0.2: stretched from 4x4 to 8x8"],
        ),
        (
            {},
            {"width": 48},
            [f"{LENGTHEN}.0.0: stretched from 4x2 to 6x3", f"{LENGTHEN}.0.2: stretched from 4x4 to 6x6"],
        ),
        ({"height": 48}, {}, [f"{LENGTHEN}.1: left out, a square grid has one map for both axes"]),
        ({"dynamics": "none"}, {"dynamics": "none", "height": 48, "width": 48}, []),
    ],
)
@torch.inference_mode()
def test_another_geometry_keeps_all_but_the_maps(save, before, after, expected):
    trained, model, fresh = build(0, **before), build(1, **after), build(2, **after)
    assert warm_start(model, save(trained)) == expected
    theirs, state = trained.state_dict(), model.state_dict()
    for name, tensor in fresh.state_dict().items():
        if name.endswith("_positions"):
            assert torch.equal(state[name], tensor)
        elif not name.startswith(("expand_structure.queries_to_frames", LENGTHEN)):
            assert torch.equal(state[name], theirs[name])
    config = model.typed_config
    video = torch.rand(1, 3, *config.video_shape) * 2 - 1
    assert model(video, sample=False)[0].shape == video.shape


@torch.inference_mode()
def test_a_larger_decoder_computes_the_same(save):
    trained, model = build(0, overlap=1), build(1, overlap=4, decoder_depth=2)
    assert warm_start(model, save(trained)) == [
        "decoder.transformer.blocks.1: new, with closed gates",
        "decoder.unpatchify.linear: 3 pixels more on every side, which begin with zeros",
    ]
    video = torch.rand(1, 3, *model.typed_config.video_shape) * 2 - 1
    torch.testing.assert_close(model(video, sample=False)[0], trained(video, sample=False)[0])


def test_a_decoder_grows_beside_the_geometry(save):
    trained, model = build(0), build(1, overlap=2, frames=8)
    grown, stretched = warm_start(model, save(trained))
    assert grown.startswith("decoder.unpatchify.linear: 2 pixels more")
    assert stretched.startswith("expand_structure.queries_to_frames: stretched")
    drawn = model.decoder.unpatchify.linear.weight.view(12, 12, 3, 32)
    assert torch.equal(drawn[2:-2, 2:-2].flatten(0, 2), trained.decoder.unpatchify.linear.weight)


@pytest.mark.parametrize("field", ["overlap", "decoder_depth"])
def test_a_decoder_does_not_shrink(save, field):
    with pytest.raises(UserError, match=f"{field} 2 and this model has {field} 1"):
        warm_start(build(1, **{field: 1}), save(build(0, **{field: 2})))


def test_a_shared_map_serves_both_axes_of_a_grid_that_is_not_square(save):
    trained, model = build(0), build(1, width=64)
    warm_start(model, save(trained))
    wide, high = model.expand_dynamics.lengthen
    shared = trained.expand_dynamics.lengthen[0]
    assert torch.equal(high[0].weight, shared[0].weight)
    assert wide[0].weight.shape == (8, 4)


@pytest.mark.parametrize(("outputs", "inputs"), [(interpolated, repeated), (repeated, interpolated)])
def test_to_the_same_shape_is_the_identity(outputs, inputs):
    for shape in ((7,), (7, 4), (7, 4, 1)):
        tensor = torch.randn(shape)
        assert torch.equal(stretch(tensor, tensor.shape, outputs, inputs), tensor)


@pytest.mark.parametrize("shape", [(14, 8), (9, 5)])
@pytest.mark.parametrize("inputs", [interpolated, repeated])
def test_a_map_answers_a_constant_as_before(shape, inputs):
    weight, bias = torch.randn(7, 4), torch.full((7,), 3.0)
    larger = stretch(weight, torch.Size(shape), repeated, inputs)
    torch.testing.assert_close(larger.sum(1), weight.sum(1)[torch.arange(shape[0]) * 7 // shape[0]])
    constant = stretch(torch.full((7, 4), 0.5), torch.Size(shape), interpolated, inputs).sum(1)
    torch.testing.assert_close(constant, torch.full(shape[:1], 2.0))
    torch.testing.assert_close(stretch(bias, torch.Size(shape[:1]), interpolated, inputs), torch.full(shape[:1], 3.0))


def test_more_hidden_units_compute_the_same():
    """Two layers with ReLU between them, from 4 to 10 hidden units."""
    first, bias, second = torch.randn(4, 3), torch.randn(4), torch.randn(5, 4)
    wider = (
        stretch(first, torch.Size((10, 3)), repeated, interpolated),
        stretch(bias, torch.Size((10,)), repeated, interpolated),
        stretch(second, torch.Size((5, 10)), interpolated, repeated),
    )
    x = torch.randn(6, 3)
    expected, answer = (F.linear(F.relu(F.linear(x, a, b)), c) for a, b, c in ((first, bias, second), wider))
    torch.testing.assert_close(answer, expected)


def test_a_ramp_stays_a_ramp_between_its_ends():
    """A bias that rises with the frame rises half as fast over twice as many frames."""
    longer = stretch(torch.arange(8.0), torch.Size((16,)), interpolated, repeated)
    torch.testing.assert_close(longer[1:-1], (torch.arange(1, 15) + 0.5) / 2 - 0.5)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"dim": 64}, "dim 32 and this model has dim 64"),
        ({"num_queries": 4}, "num_queries 3 and this model has num_queries 4"),
        ({"encoder_depth": 2}, "encoder_depth 1 and this model has encoder_depth 2"),
        ({"patch": (1, 4, 4)}, r"patch \(1, 8, 8\) and this model has patch \(1, 4, 4\)"),
        ({"dynamics_channels": 4}, "dynamics_channels 8 and this model has dynamics_channels 4"),
        ({"structure": "conv_mlp"}, "structure qformer and this model has structure conv_mlp"),
    ],
)
def test_other_sizes_are_refused_by_name(save, change, named):
    with pytest.raises(UserError, match=named):
        warm_start(build(1, **change), save(build()))


@pytest.mark.parametrize(
    "ablation", [{"structure": "conv_mlp"}, {"structure": "wide_qformer"}, {"dynamics": "spatial_qformer"}]
)
def test_ablations_bound_to_their_grid_keep_it(save, ablation):
    source = save(build(0, **ablation, width=64))
    with pytest.raises(UserError, match=r"\(4, 4, 8\) and this model has the grid \(4, 8, 4\), to which"):
        warm_start(build(1, **ablation, height=64), source)
    same = build(1, **ablation, width=64)
    assert warm_start(same, source) == []


def test_what_is_no_source_is_one_line(tmp_path):
    (tmp_path / "text.ckpt").write_text("no checkpoint")
    for source in (tmp_path, tmp_path / "missing", tmp_path / "text.ckpt"):
        with pytest.raises(UserError) as error:
            warm_start(build(), source)
        assert len(str(error.value).splitlines()) == 1
