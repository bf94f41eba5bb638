"""A project's folder in which what the documents name is there, small: data, runs, weights, videos, a network."""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from autoencoder import cache
from autoencoder.model import VidTwin
from autoencoder.release import to_release, write_checkpoint
from autoencoder.stage1.config import Stage1Config
from data.latents.bench import RELEASED, Size, write_sparse_cache
from data.video.frames import write_video
from generator.config import DiffusionConfig
from generator.diffusion import make_scheduler
from generator.dit import DiT
from generator.pipeline import VidTwinPipeline, save_pipeline
from runtime.config import dump, load
from runtime.weights import save_model
from tests.documents import ROOT

CLASSES = ("Archery", "Surfing")
RELEASED_HEADS = ["--model.dim=24", "--model.num_heads=12"]  # as many as a released checkpoint is taken to have

CACHES = {
    "paper": Size(8, (4, *RELEASED.structure[1:]), RELEASED.dynamics),
    "shown": Size(8, (16, 2, 8, 8), (4, 16, 16)),  # of the showcase
}


class Logits(nn.Module):
    """The signature of the I3D: 400 numbers of a clip."""

    def forward(self, x: Tensor, rescale: bool = False, resize: bool = False, return_features: bool = False) -> Tensor:
        return F.adaptive_avg_pool3d(x.mean(1, keepdim=True), [4, 10, 10]).flatten(1)


def write_project(root: Path, data: Path, stage1: Path) -> None:
    """What stands in the documents' commands, in `root`; `stage1` is a small configuration, `data` a UCF-101."""
    (root / "data").mkdir()
    (root / "data/ucf101").symlink_to(data)
    (root / "configs").symlink_to(ROOT / "configs")
    autoencoder = write_stage1_run(root / "runs/base", data, stage1)
    write_stage1_run(root / "runs/cached", data, stage1)
    released = write_stage1_run(root / "runs/mine", data, stage1, RELEASED_HEADS)
    write_checkpoint(root / "vidtwin.ckpt", to_release(released))
    save_model(released, root / "weights/release")
    assert cache.main(["--run", str(root / "runs/cached"), "--splits", "[train]", "--workers", "0"]) == 0
    for weights in ("ema", "raw"):
        write_generator(root / "runs/base/generator/weights" / weights, autoencoder)
    write_samples(root / "runs/base/samples")
    for name, size in CACHES.items():
        (root / "runs" / name).mkdir()
        write_sparse_cache(root / "runs" / name, size)
    for name, frames in (("VIDEO", 9), ("A", 4), ("B", 4)):
        write_video(root / f"{name}.mp4", torch.randint(256, (frames, 32, 48, 3), dtype=torch.uint8), 8)
    torch.jit.script(Logits()).save(root / "i3d_torchscript.pt")


def write_stage1_run(run: Path, data: Path, stage1: Path, overrides: Sequence[str] = ()) -> VidTwin:
    """What stage one leaves that others read: its configuration, and weights."""
    config = load(Stage1Config, stage1, ["--run", str(run), "--data.root", str(data), *overrides])
    torch.manual_seed(0)
    model = VidTwin.from_config_fields(config.model)
    save_model(model, run / "weights/ema")
    (run / "config.yaml").write_text(dump(config))
    return model


def write_generator(folder: Path, autoencoder: VidTwin) -> None:
    """One that can all that a generator can."""
    sizes, config = {"width": 16, "depth": 1, "num_heads": 2, "class_width": 8}, autoencoder.typed_config
    shapes = {"structure_shape": config.structure_shape, "dynamics_shape": config.dynamics_shape}
    pipeline = VidTwinPipeline(
        DiT(**sizes, **shapes, num_classes=len(CLASSES), times="separate", context=True),
        autoencoder,
        make_scheduler(DiffusionConfig()),
        classes=CLASSES,
        num_inference_steps=2,
        guidance_scale=2.0,
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    save_pipeline(pipeline, folder)


def write_samples(folder: Path) -> None:
    folder.mkdir()
    save_file({"videos": torch.randint(256, (4, 16, 16, 16, 3), dtype=torch.uint8)}, folder / "samples.safetensors")
