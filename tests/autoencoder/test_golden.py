"""The model reproduces the reference implementation's tensors, and its checkpoint's names and shapes."""

import json
import os
from pathlib import Path

import pytest
import torch
from einops import rearrange
from safetensors.torch import load_file

from autoencoder.model import VidTwin
from autoencoder.release import from_release, main, read_checkpoint, to_release
from runtime.errors import UserError

FIXTURES = Path(__file__).parents[1] / "fixtures"
TOLERANCE = 1e-4


@pytest.fixture(params=["tiny", "small"])
def golden(request):
    folder = FIXTURES if request.param == "tiny" else Path(os.environ.get("VIDTWIN_GOLDEN", "not-given"))
    if not (folder / f"{request.param}.weights.safetensors").exists():
        pytest.skip(f"set VIDTWIN_GOLDEN to the folder that holds {request.param}.*.safetensors")
    weights, tensors = (load_file(folder / f"{request.param}.{kind}.safetensors") for kind in ("weights", "tensors"))
    return weights, tensors


def assert_close(ours, theirs):
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() < TOLERANCE


@torch.inference_mode()
def test_every_golden_tensor_is_reproduced(golden):
    weights, tensors = golden
    model = from_release(weights, num_heads=4)
    video = tensors["video_uint8"] / 127.5 - 1
    z = model.encoder(video)
    posterior = model.encode(video)
    latents = posterior.mode()
    dynamics_x, dynamics_y = latents.dynamics.chunk(2, dim=-1)
    assert_close(z, tensors["z"])
    assert_close(model.extract_structure.summary.qformer(rearrange(z, "b d t h w -> (b h w) t d")), tensors["qformer"])
    assert_close(rearrange(latents.structure, "b d q h w -> b q h w d"), tensors["structure"])
    assert_close(dynamics_x, tensors["dynamics_x"])
    assert_close(dynamics_y, tensors["dynamics_y"])
    assert_close(model.decode(latents), tensors["reconstruction"])
    assert_close(model.decode(latents, "structure"), tensors["structure_only"])
    assert_close(model.decode(latents, "dynamics"), tensors["dynamics_only"])
    assert posterior.kl().item() == pytest.approx(tensors["kl"].item(), rel=1e-4)


def test_release_round_trip_is_exact(golden):
    weights, _ = golden
    again = to_release(from_release(weights, num_heads=4))
    assert again.keys() == weights.keys()
    assert all(torch.equal(again[name], weights[name]) for name in weights)


def test_float64_tables_and_loss_tensors_are_accepted():
    weights = load_file(FIXTURES / "tiny.weights.safetensors")
    released = {name: value.double() if "pos_embed" in name else value for name, value in weights.items()}
    model = from_release({**released, "loss.logvar": torch.zeros(())}, num_heads=4)
    assert not model.training
    assert all(value.dtype == torch.float32 for value in model.state_dict().values())


def test_released_configuration_has_the_released_names_and_shapes():
    expected = json.loads((FIXTURES / "release_keys.json").read_text())
    with torch.device("meta"):
        produced = to_release(VidTwin(structure_channels=8))
    assert {name: list(tensor.shape) for name, tensor in produced.items()} == expected
    assert len(expected) == 587


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda sd: sd.pop("conv_in.bias"), "lacks the tensor conv_in.bias"),
        (lambda sd: sd.update({"extra.weight": torch.zeros(1)}), "unknown tensor extra.weight"),
        (lambda sd: sd.update({"conv_in.bias": torch.zeros(3)}), "conv_in.bias has shape (3,)"),
    ],
)
def test_a_wrong_tensor_is_named(change, named):
    weights = load_file(FIXTURES / "tiny.weights.safetensors")
    change(weights)
    with pytest.raises(UserError) as error:
        from_release(weights, num_heads=4)
    assert named in str(error.value)


def test_non_square_models_have_no_released_form():
    model = VidTwin(
        frames=2, height=8, width=16, patch=(1, 4, 4), dim=16, num_heads=2, encoder_depth=1, decoder_depth=1
    )
    with pytest.raises(UserError, match="square"):
        to_release(model)


def test_conversion_writes_a_diffusers_folder(tmp_path, capsys):
    torch.save({"state_dict": load_file(FIXTURES / "tiny.weights.safetensors")}, tmp_path / "vidtwin.ckpt")
    assert main([str(tmp_path / "vidtwin.ckpt"), str(tmp_path / "out"), "--num-heads", "4"]) == 0
    assert (tmp_path / "out" / "config.json").exists()
    (tmp_path / "vidtwin.ckpt").write_bytes(b"not a checkpoint")
    assert main([str(tmp_path / "vidtwin.ckpt"), str(tmp_path / "out")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
def test_there_and_back_by_command_is_bit_exact(suffix, tmp_path):
    folder, exported = tmp_path / "folder", tmp_path / "exported" / f"vidtwin{suffix}"
    assert main([str(FIXTURES / "tiny.weights.safetensors"), str(folder), "--num-heads", "4"]) == 0
    assert main([str(folder), str(exported)]) == 0
    weights, again = load_file(FIXTURES / "tiny.weights.safetensors"), read_checkpoint(exported)
    assert again.keys() == weights.keys()
    assert all(torch.equal(again[name], weights[name]) for name in weights)
    assert [file.name for file in exported.parent.iterdir()] == [exported.name]


def test_what_cannot_be_exported_is_one_line(tmp_path, capsys):
    fields = {"frames": 2, "patch": (1, 4, 4), "dim": 16, "num_heads": 2, "encoder_depth": 1, "decoder_depth": 1}
    for name, changes in (("wide", {"width": 16}), ("ablation", {"width": 8, "dynamics": "none"})):
        VidTwin(height=8, **fields | changes).save_pretrained(tmp_path / name)
    (tmp_path / "empty").mkdir()
    target = tmp_path / "out.safetensors"
    for source, out, said in (
        ("wide", target, "square"),
        ("ablation", target, "dynamics none"),
        ("empty", target, "no config.json"),
        ("ablation", tmp_path / "out.bin", "must end in .safetensors or .ckpt"),
    ):
        assert main([str(tmp_path / source), str(out)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line
    assert not list(tmp_path.glob("*out*"))
