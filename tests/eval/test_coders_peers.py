"""Others' autoencoders, built small with random weights: the latents that their authors publish, every frame back."""

import pytest
import torch

from eval.coders.geometry import GEOMETRIES
from eval.coders.lattice import cut_back, extended, least_multiple
from eval.coders.peers import FAMILIES, PeerCoder, load_peer
from eval.coders.registry import open_coder
from runtime.errors import UserError
from runtime.weights import save_model

FOUR = {"block_out_channels": (8,) * 4, "layers_per_block": 1, "norm_num_groups": 2}
KL = {**FOUR, "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
# As narrow and shallow as each class allows. Strides and channels of the latent are the class's own where it has one
# published model, and else those that the model is published with.
SMALL = {
    "Stable Diffusion": KL,
    "Stable Diffusion 3": {**KL, "latent_channels": 16},
    "TAESD": {
        "encoder_block_out_channels": (8,) * 4, "decoder_block_out_channels": (8,) * 4,
        "num_encoder_blocks": (1,) * 4, "num_decoder_blocks": (1,) * 4,
    },
    "DC-AE f32c32": {
        "attention_head_dim": 8, "encoder_block_out_channels": (8,) * 5 + (32,),
        "decoder_block_out_channels": (8,) * 5 + (32,), "encoder_layers_per_block": (1,) * 6,
        "decoder_layers_per_block": (1,) * 6, "encoder_qkv_multiscales": ((),) * 6,
        "decoder_qkv_multiscales": ((),) * 6,
    },
    "Stable Video Diffusion": {
        "block_out_channels": (32,) * 4, "down_block_types": ("DownEncoderBlock2D",) * 4, "layers_per_block": 1,
    },
    "CogVideoX": FOUR,
    "LTX-Video": {
        "block_out_channels": (8,) * 4, "decoder_block_out_channels": (8,) * 4, "layers_per_block": (1,) * 5,
        "decoder_layers_per_block": (1,) * 5,
    },
    "Wan 2.1": {"base_dim": 8, "num_res_blocks": 1},
    "Wan 2.2 5B": {
        "base_dim": 8, "num_res_blocks": 1, "z_dim": 48, "is_residual": True, "in_channels": 12, "out_channels": 12,
        "patch_size": 2, "scale_factor_spatial": 16, "latents_mean": [0.0] * 48, "latents_std": [1.0] * 48,
    },
    "HunyuanVideo": FOUR,
    "HunyuanVideo 1.5": {"block_out_channels": (8, 8, 8, 16, 64), "layers_per_block": 1},
    "Cosmos CV8x8x8": {
        "encoder_block_out_channels": (8,) * 4, "decode_block_out_channels": (8,) * 4, "num_layers": 1,
        "attention_resolutions": (),
    },
    "Allegro": FOUR,
    "Mochi 1": {
        "encoder_block_out_channels": (32,) * 4, "decoder_block_out_channels": (32,) * 4, "layers_per_block": (1,) * 5,
    },
    "VidTok KL 4x8x8, 4 channels": {"ch": 8, "num_res_blocks": 1},
}  # fmt: skip
BY_NAME = {geometry.name: geometry for geometry in GEOMETRIES}


def small(family, **config):
    import diffusers

    torch.manual_seed(0)
    return getattr(diffusers, FAMILIES[family].class_name)(**config).eval()


def clips(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_every_family_has_a_published_geometry_and_a_small_model():
    assert {geometry.family for geometry in GEOMETRIES} == set(FAMILIES)
    assert set(SMALL) == set(BY_NAME)


# Two of a class whose other model is built here anyway.
SECOND = ("Stable Diffusion 3", "Wan 2.2 5B")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.full] if name in SECOND else []) for name in SMALL]
)
def test_the_latent_is_as_published_and_no_frame_is_lost(name):
    geometry, video = BY_NAME[name], clips(2, 3, 16, 16, 24)
    coder = PeerCoder(name, small(geometry.family, **SMALL[name]), FAMILIES[geometry.family])
    with torch.inference_mode():
        latent = coder.encode(video)
        back = coder.decode(latent, video)
    assert tuple(latent.shape) == (2, *geometry.latent(16, 16, 24))
    assert back.shape == video.shape
    assert back.isfinite().all()


@pytest.mark.parametrize(
    ("name", "forward"),
    [("Wan 2.1", {}), ("VidTok KL 4x8x8, 4 channels", {"sample_posterior": False}), ("Cosmos CV8x8x8", {})],
)
def test_what_comes_back_is_what_the_model_itself_gives_of_the_extended_clip(name, forward):
    family, video = BY_NAME[name].family, clips(1, 3, 9, 16, 16)
    model = small(family, **SMALL[name])
    with torch.inference_mode():
        expected = model(video, **forward).sample.clamp(-1, 1)
    assert torch.equal(PeerCoder(name, model, FAMILIES[family])(video).video, expected)


def test_wan_alone_loses_the_frames_that_the_adapter_keeps():
    model, video = small("wan", **SMALL["Wan 2.1"]), clips(1, 3, 16, 16, 16)
    with torch.inference_mode():
        assert model(video).sample.shape[2] == 13
    assert PeerCoder("wan", model, FAMILIES["wan"])(video).video.shape[2] == 16


def test_ltx_that_removes_noise_is_told_that_there_is_none():
    """As versions 0.9.1 and later are configured; the noise that 0.9.1 adds is the same in every run."""
    noisy = {"timestep_conditioning": True, "decoder_inject_noise": (True,) * 5}
    coder = PeerCoder("ltx", small("ltx", **SMALL["LTX-Video"], **noisy), FAMILIES["ltx"])
    video = clips(2, 3, 9, 32, 32)
    assert torch.equal(coder(video).video, coder(video).video)


def test_vidtok_that_is_not_causal_keeps_every_frame():
    name = "VidTok KL 4x8x8, 4 channels"
    coder = PeerCoder("vidtok", small("vidtok", **SMALL[name], is_causal=False), FAMILIES["vidtok"])
    coded = coder(clips(1, 3, 18, 8, 8))
    assert coded.video.shape[2] == 18
    assert coded.values == 4 * 8 * 1 * 1  # in chunks of 16 frames


def test_clips_are_extended_by_their_last_frame_row_and_column():
    video = clips(1, 3, 3, 2, 5)
    whole = extended(video, (5, 4, 8))
    assert whole.shape == (1, 3, 5, 4, 8)
    assert torch.equal(cut_back(whole, video), video)
    assert torch.equal(whole[:, :, 4, 3, 7], video[:, :, 2, 1, 4])
    assert [least_multiple(n, 4) for n in (0, 1, 4, 5)] == [0, 4, 4, 8]


@pytest.mark.parametrize(("name", "lengths"), [("wan", [1, 5, 5, 9, 17, 17]), ("svd", [1, 2, 5, 6, 16, 17])])
def test_a_clip_is_extended_no_further_than_needed(name, lengths):
    title = {"wan": "Wan 2.1", "svd": "Stable Video Diffusion"}[name]
    coder = PeerCoder(name, small(name, **SMALL[title]), FAMILIES[name])
    sizes = [coder.size(torch.empty(1, 3, frames, 8, 9)) for frames in (1, 2, 5, 6, 16, 17)]
    assert sizes == [(length, 8, 16) for length in lengths]


@pytest.fixture(scope="module")
def wan_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights") / "vae"
    save_model(small("wan", **SMALL["Wan 2.1"]), folder)
    return folder


def test_local_weights_by_name(wan_folder):
    coder, video = open_coder(f"wan:{wan_folder}"), clips(1, 3, 5, 8, 8)
    direct = PeerCoder("wan", small("wan", **SMALL["Wan 2.1"]), FAMILIES["wan"])
    assert coder.name == "wan"
    assert not coder.adapter.model.training
    assert torch.equal(coder(video).video, direct(video).video)


def test_weights_that_are_others_or_are_missing(wan_folder, tmp_path):
    with pytest.raises(UserError, match=f"AutoencoderKLWan, not .* write wan:{wan_folder}$"):
        open_coder(f"ltx:{wan_folder}")
    with pytest.raises(UserError, match=r"no config.json: give a folder of diffusers weights"):
        open_coder(f"wan:{tmp_path}")
    (tmp_path / "config.json").write_text('{"_class_name": "AutoencoderOobleck"}')
    with pytest.raises(UserError, match=r"holds AutoencoderOobleck, not .*: known are kl, "):
        load_peer("wan", tmp_path, torch.device("cpu"))
    (tmp_path / "config.json").write_text("no json")
    with pytest.raises(UserError, match=r"config.json is not JSON"):
        load_peer("wan", tmp_path, torch.device("cpu"))
    (tmp_path / "config.json").write_text((wan_folder / "config.json").read_text())
    with pytest.raises(UserError, match="cannot be loaded as AutoencoderKLWan"):
        open_coder(f"wan:{tmp_path}")


def test_a_configuration_that_does_not_describe_its_network():
    wrong = small("wan", **SMALL["Wan 2.1"], scale_factor_spatial=4)
    with pytest.raises(UserError, match="wan gives 5x8x8 back for 5x12x12"):
        PeerCoder("wan", wrong, FAMILIES["wan"])(clips(1, 3, 5, 12, 12))


def test_discrete_latents_are_refused():
    discrete = {"regularizer": "fsq", "z_channels": 6, "double_z": False}
    model = small("vidtok", **SMALL["VidTok KL 4x8x8, 4 channels"], **discrete)
    with pytest.raises(UserError, match="discrete"):
        PeerCoder("vidtok", model, FAMILIES["vidtok"])
