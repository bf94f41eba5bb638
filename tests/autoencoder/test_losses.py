"""Each term of stage one's loss against an independent computation."""

import copy
import math
import warnings
from itertools import permutations, product

import pytest
import torch
from einops import rearrange

from autoencoder.losses.discriminator import PatchDiscriminator
from autoencoder.losses.objective import Objective, ScaledAutoencoder
from autoencoder.losses.paint import Paint
from autoencoder.losses.perceptual import LPIPS, require_vgg
from autoencoder.losses.task import draw_task
from autoencoder.losses.terms import (
    LastLayer,
    LossConfig,
    adaptive_weight,
    discriminator_loss,
    generator_loss,
    reconstruction_nll,
)
from autoencoder.model import VidTwin
from autoencoder.network.transformer import Unpatchify
from data.latents import TwinLatents
from runtime.engine.config import EngineConfig
from runtime.errors import UserError
from runtime.training.memory_plan import TracedEngine


def test_nll_by_hand():
    video, reconstruction = torch.zeros(2, 3, 4, 5, 6), torch.full((2, 3, 4, 5, 6), 0.5)
    perceptual, s = torch.full((2, 4), 0.1), torch.tensor(0.3)
    nll = reconstruction_nll(video, reconstruction, s, pixel_l2=2.0, perceptual=perceptual)
    per_value = (0.5 + 2.0 * 0.25 + 0.1) / math.exp(0.3) + 0.3
    assert nll.item() == pytest.approx(3 * 5 * 6 * per_value, rel=1e-5)


def test_a_step_in_the_error_counts_where_it_is():
    """An error of 0.5 in the left half of the picture alone: six pixels of three channels see it end."""
    video, s = torch.zeros(2, 3, 4, 6, 8), torch.tensor(0.0)
    reconstruction = video.clone()
    reconstruction[..., :4] = 0.5
    without, penalised = (reconstruction_nll(video, reconstruction, s, gradient=each) for each in (0.0, 2.0))
    assert (penalised - without).item() == pytest.approx(2 * 3 * 6 * 0.5)


def test_hinge_losses_by_hand():
    real, fake = torch.tensor([0.5, 2.0]), torch.tensor([-2.0, 0.5])
    assert discriminator_loss(real, fake).item() == pytest.approx(0.5 * (0.25 + 0.75))
    assert generator_loss(fake).item() == pytest.approx(0.75)


@pytest.mark.parametrize("overlap", [0, 3])
def test_last_layer_gradient_equals_autograd(overlap):
    layer = Unpatchify((2, 4, 6), 8, overlap)
    last = LastLayer(layer)
    video = layer(torch.randn(2, 3, 2, 2, 8))
    loss = video.pow(3).mean()
    (expected,) = torch.autograd.grad(loss, layer.linear.weight, retain_graph=True)
    (at_video,) = torch.autograd.grad(loss, video)
    torch.testing.assert_close(last.gradient(at_video), expected)


def test_adaptive_weight_is_a_clamped_ratio_of_norms():
    ones = torch.ones(4)
    assert adaptive_weight(3 * ones, ones, 0.05).item() == pytest.approx(0.05 * 6 / (2 + 1e-4))
    assert adaptive_weight(ones, 0 * ones, 0.05).item() == pytest.approx(0.05 * 1e4)


def test_discriminator_has_a_logit_for_each_patch_and_the_papers_initialisation():
    torch.manual_seed(0)
    discriminator = PatchDiscriminator()
    (logits,) = discriminator(torch.zeros(1, 3, 2, 224, 224))
    assert logits.shape == (2, 1, 26, 26)
    weights = torch.cat([m.weight.flatten() for m in discriminator.modules() if isinstance(m, torch.nn.Conv2d)])
    assert weights.mean().item() == pytest.approx(0, abs=1e-4)
    assert weights.std().item() == pytest.approx(0.02, rel=0.01)
    assert sum(p.numel() for p in discriminator.parameters()) == pytest.approx(2.8e6, rel=0.02)


def test_missing_vgg_weights_are_one_line_with_a_way_out(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(UserError) as error:
        require_vgg()
    for part in ("vgg16-397923af.pth", str(tmp_path / "hub" / "checkpoints"), "--loss.perceptual 0"):
        assert part in str(error.value)


@pytest.fixture(scope="module")
def perceptual():
    """LPIPS over a random backbone, and two videos that differ a little."""
    torch.manual_seed(0)
    video = torch.rand(2, 3, 4, 32, 32) * 2 - 1
    return LPIPS(trained=False), video + 0.3 * torch.randn_like(video), video


def weighed_gradient(distance, reconstruction, video):
    """Distances `b t`, and the gradient of a sum that weighs every frame differently."""
    x = reconstruction.clone().requires_grad_()
    distances = distance(x, video)
    (gradient,) = torch.autograd.grad((distances * torch.linspace(1, 2, distances.numel()).view_as(distances)).sum(), x)
    return distances.detach(), gradient


def relative(ours, reference):
    return ((ours - reference).norm() / reference.norm()).item()


def test_lpips_frame_by_frame_is_lpips(perceptual):
    import lpips

    ours, *videos = perceptual
    with warnings.catch_warnings(action="ignore"):
        reference = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False).eval().requires_grad_(False)
    reference.net = ours.distance.backbone

    def whole(x, y):
        return reference(*(rearrange(each, "b c t h w -> (b t) c h w") for each in (x, y))).view(2, 4)

    expected = weighed_gradient(whole, *videos)
    for frames_at_once in (1, 3, 8):
        ours.frames_at_once = frames_at_once
        for one, other in zip(weighed_gradient(ours, *videos), expected, strict=True):
            assert relative(one, other) < 1e-5
    with torch.inference_mode():
        assert torch.equal(ours(*videos), expected[0])  # as a metric


def test_lpips_of_bf16_features_is_near_and_its_distances_are_float32(perceptual):
    reference, *videos = perceptual
    ours = copy.deepcopy(reference)
    ours.distance.dtype = torch.bfloat16
    (distances, gradient), expected = (weighed_gradient(each, *videos) for each in (ours, reference))
    assert distances.dtype == gradient.dtype == torch.float32
    assert relative(distances, expected[0]) < 2e-3  # of bf16's own steps, 4e-3, distances have none
    assert torch.nn.functional.cosine_similarity(gradient.flatten(), expected[1].flatten(), 0) > 0.98


def test_lpips_keeps_what_one_chunk_needs(perceptual):
    from runtime.memory import traced

    def peak(clips, frames_at_once):
        with traced() as memory:
            network = LPIPS(frames_at_once=frames_at_once, trained=False)
            video = torch.empty(clips, 3, 4, 64, 64)
            before = memory.peak = memory.current
            weighed_gradient(network, video, video)
        return memory.peak - before

    one, four = peak(1, 4), peak(4, 4)
    assert four - one < 0.1 * one
    assert peak(4, 16) > 3 * one


TINY = {
    "frames": 4, "height": 32, "width": 32, "patch": (1, 8, 8), "dim": 16, "encoder_depth": 1, "decoder_depth": 1,
    "num_heads": 2, "num_queries": 2, "query_dim": 8, "qformer_depth": 1, "qformer_heads": 2, "qformer_hidden": 16,
    "structure_channels": 2, "structure_conv_dim": 8, "structure_halvings": 0, "dynamics_channels": 2,
    "dynamics_halvings": 0, "dropout": 0.0,
}  # fmt: skip


def test_all_terms_of_a_bf16_run_are_float32(perceptual):
    """What is made of the networks' outputs is what float32 makes of the same outputs, to its last bits."""
    torch.manual_seed(0)
    config = EngineConfig(precision="bf16")
    engine = TracedEngine(ScaledAutoencoder(VidTwin(**TINY)), config)
    discriminator = TracedEngine(PatchDiscriminator(), config)
    objective = Objective(LossConfig(disc_start=0, pixel_l2=2.0), engine, discriminator, perceptual[0])
    video = torch.rand(2, 3, 4, 32, 32) * 2 - 1
    seen, last_layer_gradient = {"at x̂": []}, objective.last_layer.gradient
    objective.last_layer.gradient = lambda each: seen["at x̂"].append(each.dtype) or last_layer_gradient(each)
    engine.module.register_forward_hook(lambda *call: seen.update(outputs=call[2]))
    discriminator.module.register_forward_hook(lambda *call: seen.setdefault("logits", []).append(call[2]))
    reconstruction, target, terms = objective.micro_step(video, 0, sample=False)
    assert target is video
    assert {name: term.dtype for name, term in terms.items()} == dict.fromkeys(terms, torch.float32)
    assert terms.keys() >= {"nll", "kl", "log_scale", "loss", "generator", "adaptive_weight", "discriminator"}
    assert reconstruction.dtype == torch.bfloat16
    assert seen["at x̂"] == 2 * [torch.float32]  # as they are weighed against each other

    with torch.no_grad():
        x, _, s = seen["outputs"]
        error = (video - x).abs() + 2 * (video - x) ** 2 + 0.05 * rearrange(perceptual[0](x, video), "b t -> b 1 t 1 1")
        (for_generator,), (real, fake) = seen["logits"]
        expected = {
            "nll": 3 * 32 * 32 * (error / s.float().exp() + s.float()).mean(),
            "generator": -for_generator.double().mean(),
            "discriminator": ((1 - real.double()).relu().mean() + (1 + fake.double()).relu().mean()) / 2,
        }
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value.item(), rel=1e-6), name
    gradient = engine.module.autoencoder.decoder.unpatchify.linear.weight.grad
    assert gradient.dtype == torch.bfloat16
    assert gradient.any()


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_still_clips_are_structure_alone_and_are_to_be_their_mean_frame(share):
    torch.manual_seed(0)
    engine = TracedEngine(ScaledAutoencoder(VidTwin(**TINY)), EngineConfig(precision="fp32"))
    objective, model = Objective(LossConfig(still=share), engine, None, None), engine.module.autoencoder
    video = torch.rand(32, 3, 4, 32, 32) * 2 - 1
    reconstruction, target, terms = objective.micro_step(video, 0, sample=False)
    latents = model.encode(video).mode()
    parts = {part: model.decode(latents, part) for part in ("both", "structure")}
    still = [torch.equal(each[:, 0], each[:, -1]) for each in target]
    for clip, alone in enumerate(still):
        assert torch.allclose(target[clip], video[clip].mean(1, keepdim=True) if alone else video[clip])
        assert torch.allclose(reconstruction[clip], parts["structure" if alone else "both"][clip], atol=1e-5)
    assert sum(still) == 32 if share == 1 else 2 <= sum(still) <= 16
    assert terms["nll"].item() == pytest.approx((target - reconstruction).abs().sum().item() / 32 / 4, rel=1e-4)
    learns = [p.grad is not None and bool(p.grad.any()) for p in model.expand_dynamics.parameters()]
    assert any(learns) == (share < 1)


def test_exchanged_clips_move_as_their_partner_does_and_look_as_they_do():
    torch.manual_seed(0)
    engine = TracedEngine(ScaledAutoencoder(VidTwin(**TINY)), EngineConfig(precision="fp32"))
    config, model = LossConfig(exchange=0.6, still=0.2), engine.module.autoencoder
    video = torch.rand(32, 3, 4, 32, 32) * 2 - 1
    task = draw_task(video, config, 0)
    own = task.moved_by == torch.arange(32)
    assert torch.equal(own[::2], own[1::2])
    assert 8 <= own.sum() <= 24
    assert torch.equal(task.video[own], video[own])
    every = list(product(permutations(range(3)), (-1.0, 1.0), (-1.0, 0.0, 1.0)))
    paint, looks = Paint(*map(torch.tensor, zip(*every, strict=True))), []
    for clip, (seen, target, moves) in enumerate(zip(task.video, task.target, task.moving, strict=True)):
        [look] = (paint(video[clip].expand(len(every), -1, -1, -1, -1)) == seen).flatten(1).all(1).nonzero().flatten()
        moved = video[clip if own[clip] else clip ^ 1]
        painted = paint(moved.expand(len(every), -1, -1, -1, -1))[look]
        assert torch.equal(target, painted if moves else seen.mean(1, keepdim=True).expand_as(seen))
        looks.append(look.item())
    assert any(a != b for a, b in zip(looks[::2], looks[1::2], strict=True))
    reconstruction, _ = model(task.video, sample=False, moved_by=task.moved_by, moving=task.moving)
    structure, dynamics = model.encode(task.video).mode()
    joined = model.decode(TwinLatents(structure, dynamics[task.moved_by]))
    assert torch.allclose(reconstruction[task.moving], joined[task.moving], atol=1e-5)
    late = LossConfig(exchange=1.0, exchange_start=3)
    assert draw_task(video[:5], late, 2).moved_by is None
    assert draw_task(video[:5], late, 3).moved_by.tolist() == [1, 0, 3, 2, 4]


def test_only_batch_norm_tells_micro_batches_from_a_batch():
    """Which is what `EngineConfig.accumulation` says of the discriminator."""
    torch.manual_seed(0)
    discriminator, video = PatchDiscriminator(), torch.randn(2, 3, 2, 32, 32)
    without = copy.deepcopy(discriminator)
    for place, layer in enumerate(without.layers):
        if isinstance(layer, torch.nn.BatchNorm2d):
            without.layers[place] = torch.nn.Identity()

    def difference(network):
        whole = network(video)[0]
        return relative(torch.cat([network(clip)[0] for clip in video.split(1)]), whole)

    assert difference(discriminator) > 0.01
    assert difference(without) < 1e-5
