"""The paper's ablations, and a variant of ours: whole models that differ from VidTwin in the named part alone."""

from pathlib import Path

import pytest
import torch

from autoencoder.config import VidTwinConfig
from autoencoder.model import VidTwin
from autoencoder.release import to_release
from autoencoder.stage1.config import Stage1Config
from runtime.config import load
from runtime.errors import UserError
from runtime.weights import load_model, save_model, weights_hash

FIELDS = {
    "frames": 4,
    "height": 24,
    "width": 40,
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
ABLATIONS = {
    "one_latent": {"structure_channels": 6, "dynamics": "none"},
    "centred": {"dynamics": "centred"},
    "spatial_qformer": {"dynamics": "spatial_qformer"},
    "conv_mlp": {"structure": "conv_mlp"},
    "wide_qformer": {"structure": "wide_qformer"},
}
REPLACED = {
    "one_latent": ("extract_dynamics.", "expand_dynamics."),
    "centred": (),
    "spatial_qformer": ("extract_dynamics.",),
    "conv_mlp": ("extract_structure.summary.",),
    "wide_qformer": ("extract_structure.summary.",),
}
CONFIGS = Path(__file__).parents[2] / "configs/stage1"


@pytest.fixture(params=ABLATIONS)
def name(request):
    return request.param


@pytest.fixture
def model(name):
    torch.manual_seed(2)  # with a ReLU alive in every map of so small a grid
    return VidTwin(**FIELDS | ABLATIONS[name])


@pytest.fixture
def video():
    return torch.rand(2, 3, 4, 24, 40, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_every_parameter_gets_a_gradient(model, video):
    reconstruction, posterior = model.train()(video)
    (reconstruction.square().sum() + posterior.kl()).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


@torch.inference_mode()
def test_shapes_are_those_the_config_says(name, model, video):
    posterior = model.eval().encode(video)
    config = model.typed_config
    for latents in (posterior.mean, posterior.logvar, posterior.sample()):
        assert latents.structure.shape == (2, *config.structure_shape)
        assert latents.dynamics.shape == (2, *config.dynamics_shape)
    assert config.dynamics_shape == (0 if name == "one_latent" else 8, 4, 5)
    for part in ("both", "structure", "dynamics"):
        assert model.decode(posterior.mode(), part).shape == video.shape


def test_only_the_named_part_differs(name, model):
    def elsewhere(model):
        return {key: tensor.shape for key, tensor in model.state_dict().items() if not key.startswith(REPLACED[name])}

    main = VidTwin(**FIELDS | {"structure_channels": model.typed_config.structure_channels})
    assert elsewhere(model) == elsewhere(main)
    assert (model.state_dict().keys() == main.state_dict().keys()) == (name == "centred")


@torch.inference_mode()
def test_a_frame_that_changes_changes_the_part_that_was_replaced(name, model, video):
    """The replaced summaries read their input: all frames for structure, each frame for its own dynamics."""
    changed = video.clone()
    changed[:, :, -1] = 0
    one, other = (model.eval().encode(each).mode() for each in (video, changed))
    assert not torch.equal(one.structure, other.structure)
    if name != "one_latent":
        assert not torch.equal(one.dynamics[:, :, -1], other.dynamics[:, :, -1])
    if name not in ("one_latent", "centred"):
        assert torch.equal(one.dynamics[:, :, :2], other.dynamics[:, :, :2])  # one frame further by the last conv


@torch.inference_mode()
def test_centred_dynamics_hold_nothing_that_stays(video):
    """They are zero in the mean over time, and what is added to all frames alike is not seen."""
    torch.manual_seed(0)
    model, averages = (VidTwin(**FIELDS | {"dynamics": kind}).eval() for kind in ("centred", "averages"))
    averages.load_state_dict(model.state_dict())
    latents, whole = model.encode(video).mode(), averages.encode(video).mode()
    torch.testing.assert_close(latents.dynamics, whole.dynamics - whole.dynamics.mean(2, keepdim=True))
    assert torch.equal(latents.structure, whole.structure)
    moved = latents._replace(dynamics=latents.dynamics + torch.randn(2, 8, 1, 5))
    torch.testing.assert_close(model.decode(moved), model.decode(latents), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model.decode(latents), averages.decode(latents), atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_without_dynamics_all_is_structure(video):
    model = VidTwin(**FIELDS | ABLATIONS["one_latent"]).eval()
    posterior = model.encode(video)
    assert torch.equal(model.decode(posterior.mode()), model.decode(posterior.mode(), "structure"))
    u = model.expand_dynamics(posterior.mode().dynamics)
    assert u.shape == (2, 4, 3, 5, 32)
    assert not u.any()
    normal = torch.distributions.Normal(posterior.mean.structure, (0.5 * posterior.logvar.structure).exp())
    expected = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0)).sum() / 2
    torch.testing.assert_close(posterior.kl(), expected)
    torch.testing.assert_close(posterior.kl(dynamics_weight=9.0), expected)


@torch.inference_mode()
def test_saving_and_loading_is_exact(model, video, tmp_path):
    save_model(model.eval(), tmp_path / "weights")
    loaded = load_model(VidTwin, tmp_path / "weights")
    assert loaded.typed_config == model.typed_config
    assert weights_hash(loaded) == weights_hash(model)
    torch.testing.assert_close(loaded(video, sample=False)[0], model(video, sample=False)[0])


def test_ablations_have_no_released_form(name):
    square = FIELDS | {"width": 24}
    with pytest.raises(UserError, match="save it with diffusers") as error:
        to_release(VidTwin(**square | ABLATIONS[name]))
    field = next(field for field in ("structure", "dynamics") if field in ABLATIONS[name])
    assert f"{field} {ABLATIONS[name][field]}" in str(error.value)


def values(config: VidTwinConfig) -> int:
    return torch.Size(config.structure_shape).numel() + torch.Size(config.dynamics_shape).numel()


@pytest.mark.parametrize("name", [name for name in ABLATIONS if name != "centred"])
def test_ablations_spend_as_many_values_as_setting_1(name):
    main, ablation = (load(Stage1Config, CONFIGS / f"{each}.yaml").model for each in ("base", f"ablations/{name}"))
    assert values(main) == 4928
    assert values(ablation) == (4704 if name == "one_latent" else 4928)
    assert values(ablation) == pytest.approx(values(main), rel=0.05)


def test_heads_divide_any_width():
    with torch.device("meta"):
        full = VidTwin(structure="wide_qformer")
        odd = VidTwin(**FIELDS | {"height": 8, "width": 24, "qformer_heads": 16, "structure": "wide_qformer"})
    assert full.extract_structure.summary.qformer.queries.shape == (16, 14 * 14 * 4)
    assert odd.extract_structure.summary.qformer.layers[0].self_attention.num_heads == 4
