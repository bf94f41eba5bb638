"""Reconstruction metrics of a small random VidTwin against torchmetrics and against the clips themselves."""

import json

import pytest
import torch
from einops import rearrange

from autoencoder.losses.perceptual import LPIPS
from autoencoder.model import VidTwin
from data.clips import ClipDataset
from data.index import open_index
from data.loader import eval_loader
from data.video.frames import to_float, write_video
from eval.classifier import MotionClassifier
from eval.measures.means import open_lpips
from eval.reconstruction import evaluate_reconstruction, main
from runtime.weights import save_model


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return VidTwin(
        frames=4, height=24, width=24, patch=(1, 8, 8), dim=16, encoder_depth=1, decoder_depth=1, num_heads=2,
        num_queries=2, query_dim=8, qformer_depth=1, qformer_heads=2, qformer_hidden=16, structure_channels=2,
        structure_conv_dim=4, structure_halvings=0, dynamics_channels=2, dynamics_halvings=0,
    ).eval()  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twelve smooth videos, of which every tenth is held out, and a broken file in each split's place."""
    root = tmp_path_factory.mktemp("videos")
    numbers = torch.Generator().manual_seed(0)
    for i in range(12):
        coarse = torch.rand(1, 3, 3, 3, 3, generator=numbers)
        video = torch.nn.functional.interpolate(coarse, (8, 24, 24), mode="trilinear") * 255
        write_video(root / f"video{i:02}.mp4", rearrange(video.round().byte(), "1 c t h w -> t h w c"), 8)
    (root / "video00a.mp4").write_text("no video")
    (root / "a.mp4").write_text("no video")
    return root


def loader_of(folder, batch_size):
    clips = ClipDataset(open_index(folder, "train"), 4, 8.0, (24, 24), 0, False, False)
    return clips, eval_loader(clips, batch_size, 0, 1)


def test_figures_equal_a_direct_computation(model, folder):
    from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

    clips, loader = loader_of(folder, batch_size=3)
    figures = evaluate_reconstruction(model, loader)
    video = to_float(torch.stack([clips[0, i]["video"] for i in range(len(clips))]))
    with torch.inference_mode():
        latents = model.encode(video).mode()
        outputs = {
            "reconstruction": model.decode(latents),
            "structure": model.decode(latents, "structure"),
            "dynamics": model.decode(latents, "dynamics"),
            "trivial": video.mean(2, keepdim=True).expand_as(video),
        }
    target = rearrange(video, "b c t h w -> (b t) c h w") / 2 + 0.5
    for name, output in outputs.items():
        frames = rearrange(output.clamp(-1, 1), "b c t h w -> (b t) c h w") / 2 + 0.5
        psnr = peak_signal_noise_ratio(frames, target, 1.0, reduction="elementwise_mean", dim=(1, 2, 3))
        assert figures["psnr"][name] == pytest.approx(psnr.item(), abs=1e-3)
        if name != "trivial":
            # torchmetrics pads the border, which it then leaves out as we do.
            ssim = structural_similarity_index_measure(frames, target, data_range=1.0)
            assert figures["ssim"][name] == pytest.approx(ssim.item(), abs=1e-4)
    assert (figures["clips"], figures["frames"], figures["skipped"]) == (len(clips), 4 * len(clips), [])


def test_the_batch_size_does_not_change_the_means(model, folder):
    one, four = (evaluate_reconstruction(model, loader_of(folder, size)[1]) for size in (1, 4))
    assert one["psnr"] == pytest.approx(four["psnr"], abs=1e-3)


def test_a_classifier_adds_accuracies_of_what_is_decoded(model, folder):
    classifier = MotionClassifier(3).eval()
    figures = evaluate_reconstruction(model, loader_of(folder, 4)[1], classifier=classifier)
    assert set(figures["accuracy"]) == {"real", "reconstruction", "structure", "dynamics"}
    assert set(figures["accuracy"].values()) == {0.0}  # the folder has no labels, so none is right


def test_lpips_is_never_made_of_a_random_backbone(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert open_lpips() is None
    said = capsys.readouterr().err
    assert "vgg16-397923af.pth" in said
    assert str(tmp_path / "hub" / "checkpoints") in said
    with pytest.raises(ValueError, match="vgg16"):
        LPIPS()


def test_the_script_writes_what_the_function_returns(model, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    save_model(model, tmp_path / "weights")
    out = tmp_path / "out" / "figures.json"
    arguments = [str(folder), "--weights", str(tmp_path / "weights"), "--split", "train", "--output", str(out)]
    assert main([*arguments, "--max-videos", "5"]) == 0
    said = capsys.readouterr()
    figures = json.loads(out.read_text())
    assert figures["clips"] == 5
    assert "lpips" not in figures
    assert "LPIPS is left out" in said.err
    assert "trivial" in said.out
    assert figures["bad_files"] == 1
    assert figures["psnr"]["reconstruction"] < figures["psnr"]["trivial"]  # the weights are random


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["VIDEOS", "--weights", "nowhere"], "nowhere holds no weights"),
        (["nowhere", "--weights", "WEIGHTS"], "there is no folder nowhere"),
        (["VIDEOS", "--weights", "WEIGHTS", "--batch-size", "0"], "must be positive"),
    ],
)
def test_a_mistake_is_one_line_and_code_2(model, folder, tmp_path, capsys, arguments, message):
    save_model(model, tmp_path / "weights")
    places = {"VIDEOS": str(folder), "WEIGHTS": str(tmp_path / "weights")}
    assert main([places.get(argument, argument) for argument in arguments]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert message in said[0]
