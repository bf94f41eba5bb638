"""What the demo shows: figures and pictures of a run on the built-in data set.

`python -m eval.report --run runs/demo --data datasets/builtin` writes `runs/demo/evaluation/`.
"""

import argparse
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from autoencoder.model import VidTwin
from autoencoder.panels import PANELS, four_panels
from data.clips import ClipDataset
from data.config import DataConfig, Split
from data.index import open_index
from data.latents import TwinLatents
from data.loader import eval_loader
from data.video import to_float, to_uint8, write_video
from eval.classifier import TrainingConfig, accuracy, classifier_frechet, load_or_train
from eval.reconstruction import evaluate_reconstruction
from generator.grid import labelled_grid
from generator.sample import SAMPLES
from runtime.files import write_json
from runtime.script import script
from runtime.weights import load_model

SHOWN = 6
SCALE = 3
BATCH = 20


def report(run: Path, data: Path, classifier_steps: int) -> dict:
    """Measure a demo run; returns what `report.json` holds."""
    out = run / "evaluation"
    out.mkdir(exist_ok=True)
    model = load_model(VidTwin, run / "weights" / "ema")
    train, test = (open_clips(model, data, split, run) for split in ("train", "test"))
    classifier = load_or_train(train, test, out / "classifier", TrainingConfig(steps=classifier_steps))
    figures = evaluate_reconstruction(model, eval_loader(test, BATCH, 0, 1), classifier=classifier)
    samples = load_file(run / "samples" / SAMPLES)
    generated, labels = rearrange(samples["videos"], "n t h w c -> n c t h w"), samples["labels"]
    figures["accuracy"]["generated"] = accuracy(classifier, generated, labels)
    figures["accuracy"]["chance"] = 1 / len(test.index.classes)
    figures["classifier_frechet"] = {
        "generated": classifier_frechet(classifier, all_videos(test), generated),
        "train": classifier_frechet(classifier, all_videos(test), all_videos(train)),
    }
    write_json(out / "report.json", figures)
    draw_pictures(model, test, samples["videos"], labels, out)
    return figures


def open_clips(model: VidTwin, data: Path, split: Split, cache: Path) -> ClipDataset:
    config, index = model.typed_config, open_index(data, split, cache=cache)
    return ClipDataset(index, config.frames, DataConfig().fps, (config.height, config.width), 0, False, True)


def all_videos(clips: ClipDataset) -> Tensor:
    """Every clip once, uint8 `n c t h w`."""
    return torch.stack([clips[0, i]["video"] for i in range(len(clips))])


@torch.inference_mode()
def draw_pictures(model: VidTwin, test: ClipDataset, samples: Tensor, labels: Tensor, out: Path) -> None:
    """`panels.mp4/.png`, `swap.mp4`, and the README's animated `strip.webp`."""
    names = test.index.classes
    chosen = range(0, len(test), max(len(test) // SHOWN, 1))[:SHOWN]
    video = to_float(torch.stack([test[0, i]["video"] for i in chosen]))
    panels = enlarged(to_uint8(four_panels(model, video)))
    captions = [names[test.index.labels[i]] for i in chosen]
    fps = DataConfig().fps
    write_video(out / "panels.mp4", labelled_grid(panels, [f"{name}: {', '.join(PANELS)}" for name in captions]), fps)
    moments = F.pad(panels[:, [0, 5, 10, 15]], (0, 0, 0, 4 * SCALE), value=255)
    Image.fromarray(rearrange(moments, "n f h w c -> (n h) (f w) c").numpy()).save(out / "panels.png")
    write_video(out / "swap.mp4", labelled_grid(enlarged(swap(model, video)), captions), fps)
    shown = enlarged(rearrange(samples[: 4 * SHOWN], "n t h w c -> n c t h w"))
    write_strip(out / "strip.webp", panels, shown, fps)


def swap(model: VidTwin, video: Tensor) -> Tensor:
    """Structure donor, dynamics donor (the next clip) and both joined, uint8 `n c t h (3 w)`."""
    latents, donor = model.encode(video).mode(), video.roll(-1, 0)
    joined = model.decode(TwinLatents(latents.structure, model.encode(donor).mode().dynamics))
    return to_uint8(torch.cat([video, donor, joined], dim=-1))


def enlarged(video: Tensor) -> Tensor:
    """uint8 `n c t h w` to `n t H W c`, every pixel a square."""
    return rearrange(video, "n c t h w -> n t h w c").repeat_interleave(SCALE, 2).repeat_interleave(SCALE, 3)


def write_strip(path: Path, panels: Tensor, samples: Tensor, fps: float) -> None:
    """An animation: three rows of the four panels, beside them generated videos."""
    left = rearrange(panels[:3], "n t h w c -> t (n h) w c")
    right = rearrange(samples[:9], "(r k) t h w c -> t (r h) (k w) c", r=3)
    gap = torch.full((*left.shape[:2], 4 * SCALE, 3), 255, dtype=torch.uint8)
    frames = [Image.fromarray(frame.numpy()) for frame in torch.cat([left, gap, right], dim=2)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=round(1000 / fps), loop=0, quality=80)


@script
def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description="Figures and pictures of a run on the built-in data set.")
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--classifier-steps", type=int, default=TrainingConfig().steps)
    args = parser.parse_args(argv)
    report(args.run, args.data, args.classifier_steps)


if __name__ == "__main__":
    sys.exit(main())
