"""Feature networks: what goes into them, what files they take, and the published figure of the real one."""

import os

import pytest
import torch
import torch.nn.functional as F

from eval.features.i3d import I3D, RELEASED, WEIGHTS
from eval.features.videomae import VideoMAE, load
from eval.features.vision_transformer import GIANT, VisionTransformer
from eval.metrics.gaussian import fit, frechet_distance
from runtime.errors import UserError
from tests.eval.stand_ins import StandIn, videos

# torch marks TorchScript as deprecated; the published network exists in no other form.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")

SMALL = {"width": 24, "depth": 2, "heads": 3, "hidden": 40, "patch": (2, 4, 4), "frames": 16, "size": 8}


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = tmp_path_factory.mktemp("network") / "stand_in.pt"
    torch.jit.script(StandIn()).save(path)
    return path


def test_frames_are_resized_in_float_without_antialiasing_to_the_full_range(network):
    small = videos(2, 0, h=48, w=64)
    frames = small.permute(0, 4, 1, 2, 3).double() / 127.5 - 1
    expected = F.interpolate(frames, (16, 224, 224), mode="trilinear", align_corners=False)
    direct = StandIn()(expected.float(), return_features=True)
    torch.testing.assert_close(I3D(network)(small), direct, rtol=1e-3, atol=1e-4)


def test_a_file_that_is_another_network_is_refused(tmp_path):
    class Other(torch.nn.Module):
        def forward(self, x: torch.Tensor, rescale: bool, resize: bool, return_features: bool) -> torch.Tensor:
            return x.mean([2, 3, 4])

    torch.jit.script(Other()).save(tmp_path / "other.pt")
    with pytest.raises(UserError, match=r"features of shape \(1, 3\), not n 400; is it the I3D"):
        I3D(tmp_path / "other.pt")(videos(1, 0))
    (tmp_path / "text.pt").write_text("no network")
    with pytest.raises(UserError, match="is not a TorchScript file"):
        I3D(tmp_path / "text.pt")


@pytest.mark.skipif(WEIGHTS.setting not in os.environ, reason=f"{WEIGHTS.setting} names no {WEIGHTS.file}")
def test_the_real_i3d_gives_the_published_figure_of_zeros_against_ones():
    """JunyaoHu/common_metrics_on_video_quality: 8 videos of 30 frames, 64×64, black against white: 151.26."""
    network = I3D()
    assert network.sha256 == RELEASED
    black, white = (torch.full((8, 30, 64, 64, 3), value, dtype=torch.uint8) for value in (0, 255))
    assert frechet_distance(fit(network(black)), fit(network(white))) == pytest.approx(151.26, rel=1e-3)


def test_the_giant_has_the_published_size():
    with torch.device("meta"):
        network = VisionTransformer(**GIANT)
    block = 4 * 1408**2 + 2 * 1408 + 1408 + 2 * 1408 * 6144 + 6144 + 1408 + 4 * 1408
    assert sum(p.numel() for p in network.parameters()) == 40 * block + 1408 * (3 * 2 * 14 * 14 + 1) + 2 * 1408
    assert network.tokens == 8 * 16 * 16


def test_a_checkpoint_in_the_published_names_is_taken_and_any_other_is_not(tmp_path):
    torch.manual_seed(0)
    network = VisionTransformer(**SMALL)
    names = network.state_dict()
    assert {"patch_embed.proj.weight", "blocks.0.attn.q_bias", "blocks.1.mlp.fc2.bias", "fc_norm.weight"} <= set(names)
    torch.save({"module": {**names, "head.weight": torch.zeros(7, 24)}}, tmp_path / "whole.pth")
    with torch.device("meta"):
        loaded = VisionTransformer(**SMALL)
    load(loaded, tmp_path / "whole.pth")
    x = torch.rand(2, 3, 16, 8, 8)
    assert torch.equal(loaded(x), network(x))
    for name, content in (("part", {k: names[k] for k in list(names)[1:]}), ("list", [1])):
        torch.save(content, tmp_path / f"{name}.pth")
    (tmp_path / "text.pth").write_text("no checkpoint")
    for name in ("part", "list", "text"):
        with pytest.raises(UserError, match="does not hold VideoMAE-v2's weights"):
            VideoMAE(tmp_path / f"{name}.pth")


def test_a_token_of_one_block_is_what_the_formulas_say():
    """One head of width 2 on two tokens, written out with sums."""
    torch.manual_seed(0)
    network = VisionTransformer(2, 1, 1, 3, (2, 1, 1), 4, 1).double()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(1, 3, 4, 1, 1, dtype=torch.float64)
    weights, block = network.state_dict(), network.blocks[0]
    kernel, bias = weights["patch_embed.proj.weight"].flatten(1), weights["patch_embed.proj.bias"]
    tokens = torch.stack([kernel @ x[0, :, 2 * i : 2 * i + 2].flatten() + bias for i in range(2)])
    tokens += torch.tensor([[0.0, 1.0], [torch.tensor(1.0).sin(), torch.tensor(1.0).cos()]])
    inner = F.layer_norm(tokens, (2,), block.norm1.weight, block.norm1.bias, 1e-6)
    q, k, v = (inner @ part.T for part in block.attn.qkv.weight.split(2))
    q, v = q + block.attn.q_bias, v + block.attn.v_bias
    tokens = tokens + (q @ k.T / 2**0.5).softmax(1) @ v @ block.attn.proj.weight.T + block.attn.proj.bias
    inner = F.layer_norm(tokens, (2,), block.norm2.weight, block.norm2.bias, 1e-6)
    hidden = F.gelu(inner @ block.mlp["fc1"].weight.T + block.mlp["fc1"].bias)
    tokens = tokens + hidden @ block.mlp["fc2"].weight.T + block.mlp["fc2"].bias
    expected = F.layer_norm(tokens.mean(0), (2,), network.fc_norm.weight, network.fc_norm.bias, 1e-6)
    torch.testing.assert_close(network(x)[0], expected, rtol=1e-6, atol=1e-6)


@pytest.mark.full
def test_cd_fvd_computes_the_same_videomae_features_from_the_same_weights():
    """`pip install cd-fvd` brings its network, here at a small size."""
    theirs = pytest.importorskip("cdfvd.third_party.VideoMAEv2.videomaev2_finetune")
    torch.manual_seed(0)
    other = theirs.VisionTransformer(
        img_size=8, patch_size=4, num_classes=7, embed_dim=24, depth=2, num_heads=3, mlp_ratio=40 / 24, qkv_bias=True,
        norm_layer=lambda width: torch.nn.LayerNorm(width, eps=1e-6), all_frames=16, tubelet_size=2,
    ).eval()  # fmt: skip
    for parameter in other.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    network = VisionTransformer(**SMALL)
    network.load_state_dict({k: v for k, v in other.state_dict().items() if not k.startswith("head.")})
    x = torch.rand(2, 3, 16, 8, 8)
    other.interpolate_pos_encoding = lambda _: other.pos_embed  # which it does for 16×16 tokens only
    torch.testing.assert_close(network(x), other.forward_features(x), rtol=1e-4, atol=1e-5)
