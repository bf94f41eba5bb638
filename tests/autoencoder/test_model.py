"""Properties that every VidTwin has, whatever its weights."""

import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from torch.nn.attention import SDPBackend, sdpa_kernel

from autoencoder.config import VidTwinConfig
from autoencoder.model import VidTwin
from autoencoder.network.posterior import TwinPosterior
from autoencoder.network.transformer import Patchify, Unpatchify
from data.latents import TwinLatents
from runtime.errors import UserError
from runtime.weights import load_model, save_model, weights_hash

FIELDS = {
    "frames": 4,
    "height": 24,
    "width": 40,
    "patch": (1, 8, 8),
    "dim": 32,
    "encoder_depth": 2,
    "decoder_depth": 2,
    "num_heads": 4,
    "num_queries": 3,
    "query_dim": 16,
    "qformer_heads": 2,
    "qformer_hidden": 24,
    "structure_conv_dim": 8,
}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return VidTwin(**FIELDS).eval()


@pytest.fixture
def video():
    return torch.rand(2, 3, 4, 24, 40, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("backend", [SDPBackend.MATH, SDPBackend.FLASH_ATTENTION])
@pytest.mark.parametrize("frame", [1, 3])
def test_the_encoder_is_causal(model, video, frame, backend):
    changed = video.clone()
    changed[:, :, frame] = 0
    with torch.inference_mode(), sdpa_kernel(backend):
        z, other = model.encoder(video), model.encoder(changed)
    assert torch.equal(z[:, :, :frame], other[:, :, :frame])
    assert not torch.equal(z[:, :, frame:], other[:, :, frame:])


def test_patches_are_embedded_as_the_convolution_does():
    patchify, video = Patchify((2, 4, 8), 6), torch.randn(2, 3, 4, 12, 16, requires_grad=True)
    ours, theirs = patchify(video), patchify.proj(video).permute(0, 2, 3, 4, 1)
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert ours.is_contiguous()
    assert not theirs.is_contiguous()
    with torch.autocast("cpu", torch.bfloat16):
        coarse = patchify(video)
    assert coarse.dtype == torch.bfloat16
    assert (coarse - ours).norm() < 0.01 * ours.norm()
    weight = patchify.proj.weight
    for gradients in zip(
        *(torch.autograd.grad(out.square().sum(), (weight, video)) for out in (ours, theirs)), strict=True
    ):
        assert torch.allclose(*gradients, atol=1e-3)


@pytest.mark.parametrize("overlap", [0, 1, 4])
def test_patches_are_drawn_as_the_transposed_convolution_does(overlap):
    unpatchify = Unpatchify((2, 4, 8), 6, overlap)
    q, r = unpatchify.kernel
    drawn = torch.randn(2, 3, 5, 4, 3 * 2 * q * r)
    theirs = F.conv_transpose3d(
        rearrange(drawn, "b t h w k -> b k t h w"),
        rearrange(torch.eye(drawn.shape[-1]), "k (p q r c) -> k c p q r", p=2, q=q, r=r),
        stride=(2, 4, 8),
        padding=(0, overlap, overlap),
    )
    torch.testing.assert_close(unpatchify.to_pixels(drawn), theirs)


@pytest.mark.parametrize("frame", [1, 3])
def test_the_decoder_is_causal(model, frame):
    u = torch.randn(1, 4, 3, 5, 32)
    changed = u.clone()
    changed[:, frame] = 0
    with torch.inference_mode():
        frames, other = model.decoder(u), model.decoder(changed)
    assert torch.equal(frames[:, :, :frame], other[:, :, :frame])


def test_non_square_odd_grid_has_the_shapes_its_config_says(model, video):
    latents = model.encode(video).mode()
    assert latents.structure.shape[1:] == model.typed_config.structure_shape == (4, 3, 2, 3)
    assert latents.dynamics.shape[1:] == model.typed_config.dynamics_shape == (8, 4, 5)
    for part in ("both", "structure", "dynamics"):
        assert model.decode(latents, part).shape == video.shape


@torch.inference_mode()
def test_encode_and_decode_are_one_graph_each(video):
    model = VidTwin(**FIELDS | {"encoder_depth": 1, "decoder_depth": 1, "qformer_depth": 2}).eval()
    encode, decode = (torch.compile(method, backend="eager", fullgraph=True) for method in (model.encode, model.decode))
    decoded = decode(encode(video).mode())
    assert torch.equal(decoded, model.decode(model.encode(video).mode()))


def test_it_can_be_loaded_in_bfloat16(model, video, tmp_path):
    """As diffusers loads: made under another default type, then filled."""
    model.save_pretrained(tmp_path)
    loaded = VidTwin.from_pretrained(tmp_path, local_files_only=True, torch_dtype=torch.bfloat16)
    cast = model.bfloat16().state_dict()
    assert {name for name, each in loaded.state_dict().items() if not torch.equal(each, cast[name])} == set()
    with torch.inference_mode():
        assert loaded.encode(video.bfloat16()).mode().structure.dtype == torch.bfloat16


def test_structure_alone_ignores_dynamics_and_the_reverse(model, video):
    a, b = model.encode(video).mode(), model.encode(video.flip(0)).mode()
    swapped = TwinLatents(a.structure, b.dynamics)
    assert torch.equal(model.decode(swapped, "structure"), model.decode(a, "structure"))
    assert torch.equal(model.decode(swapped, "dynamics"), model.decode(b, "dynamics"))
    assert not torch.equal(model.decode(swapped), model.decode(a))


def test_every_parameter_gets_a_gradient(model, video):
    reconstruction, posterior = model.train()(video)
    (reconstruction.square().sum() + posterior.kl()).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_recomputed_activations_change_no_gradient(model, video):
    gradients = []
    for recompute in (False, True):
        model.train()
        if recompute:
            model.enable_gradient_checkpointing()
        torch.manual_seed(0)
        reconstruction, posterior = model(video)
        (reconstruction.square().sum() + posterior.kl()).backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
        model.zero_grad()
    assert all(torch.equal(kept, recomputed) for kept, recomputed in zip(*gradients, strict=True))
    assert model.encoder.transformer.gradient_checkpointing


def test_kl_agrees_with_torch_distributions():
    mean = TwinLatents(torch.randn(2, 3, 4, 2, 2), torch.randn(2, 3, 4, 4))
    logvar = TwinLatents(torch.randn(2, 3, 4, 2, 2), torch.randn(2, 3, 4, 4))
    expected = sum(
        torch.distributions.kl_divergence(
            torch.distributions.Normal(m, (0.5 * v).exp()), torch.distributions.Normal(0.0, 1.0)
        ).sum()
        for m, v in zip(mean, logvar, strict=True)
    )
    torch.testing.assert_close(TwinPosterior(mean, logvar).kl(), expected / 2)


def test_samples_follow_their_generator_and_the_posterior(model, video):
    posterior = model.encode(video)
    first, again, other = (posterior.sample(torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    assert torch.equal(first.structure, again.structure)
    assert torch.equal(first.dynamics, again.dynamics)
    assert not torch.equal(first.structure, other.structure)
    wide = TwinPosterior(
        TwinLatents(*(torch.full((1, 100_000), 2.0),) * 2), TwinLatents(*(torch.full((1, 100_000), -1.0),) * 2)
    )
    drawn = wide.sample(torch.Generator().manual_seed(0)).structure
    assert drawn.mean().item() == pytest.approx(2, abs=0.01)
    assert drawn.var().item() == pytest.approx(torch.tensor(-1.0).exp().item(), rel=0.02)


def test_saving_and_loading_is_exact_and_strict(model, video, tmp_path):
    save_model(model, tmp_path / "weights")
    loaded = load_model(VidTwin, tmp_path / "weights")
    assert loaded.typed_config == model.typed_config
    assert weights_hash(loaded) == weights_hash(model)
    assert torch.equal(loaded.encode(video).mode().structure, model.encode(video).mode().structure)
    from safetensors.torch import load_file, save_file

    file = tmp_path / "weights" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    del tensors["extract_structure.conv_in.bias"]
    save_file(tensors, file)
    with pytest.raises(UserError, match=r"extract_structure\.conv_in\.bias"):
        load_model(VidTwin, tmp_path / "weights")


def test_wrong_geometry_is_one_clear_line(model):
    with pytest.raises(UserError, match="takes clips of shape"):
        model.encode(torch.zeros(1, 3, 4, 16, 16))
    with pytest.raises(UserError, match="height 30 is not a multiple of the patch 16"):
        VidTwinConfig(height=30)


@pytest.mark.parametrize(
    ("structure", "dynamics", "percent"),
    [((7, 16, 4), (8, 1), 0.2046), ((7, 12, 4), (8, 1), 0.1721), ((7, 16, 8), (8, 1), 0.3348)],
)
def test_latent_sizes_are_the_papers(structure, dynamics, percent):
    config = VidTwinConfig(num_queries=structure[1], structure_channels=structure[2], dynamics_channels=dynamics[0])
    d, q, h, w = config.structure_shape
    assert (h, w) == (structure[0],) * 2
    values = d * q * h * w + torch.Size(config.dynamics_shape).numel()
    assert 100 * values / (3 * 16 * 224 * 224) == pytest.approx(percent, abs=5e-5)
