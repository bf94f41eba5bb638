"""Pictures of a run on the built-in data set: panels and swaps."""

from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from PIL import Image
from torch import Tensor

from autoencoder.model import VidTwin
from autoencoder.trained.panels import PANELS, four_panels
from data.clips import ClipDataset
from data.index import UNLABELLED
from data.latents import TwinLatents
from data.video.frames import to_float, to_uint8, write_video
from generator.grid import labelled_grid

SHOWN = 6
SMALLEST = 144  # pixels that a shown video is high at least


@torch.inference_mode()
def draw_pictures(model: VidTwin, test: ClipDataset, out: Path) -> None:
    """`panels.mp4/.png` and `swap.mp4`."""
    video, captions = shown_clips(model, test)
    panels = enlarged(four_views(model, video))
    grid = labelled_grid(panels, [f"{name}: {', '.join(PANELS)}" for name in captions])
    write_video(out / "panels.mp4", grid, test.fps)
    moments = F.pad(panels[:, torch.linspace(0, panels.shape[1] - 1, 4).long()], (0, 0, 0, 12), value=255)
    Image.fromarray(rearrange(moments, "n f h w c -> (n h) (f w) c").numpy()).save(out / "panels.png")
    write_video(out / "swap.mp4", labelled_grid(enlarged(swap(model, video)), captions), test.fps)


def shown_clips(model: VidTwin, test: ClipDataset) -> tuple[Tensor, list[str]]:
    """Test clips `b c t h w` in [-1, 1], spread evenly, on the model's device, and their classes, if they have any."""
    names, chosen = test.index.classes, range(0, len(test), max(len(test) // SHOWN, 1))[:SHOWN]
    video = to_float(torch.stack([test[0, i]["video"] for i in chosen]).to(model.device))
    labels = [test.index.labels[i] for i in chosen]
    return video, ["" if label == UNLABELLED else names[label] for label in labels]


def four_views(model: VidTwin, video: Tensor) -> Tensor:
    """`b c t h w` in [-1, 1] and what its latents decode to, uint8 `b c t h (4 w)` on the CPU."""
    return to_uint8(four_panels(model, video)).cpu()


def swap(model: VidTwin, video: Tensor) -> Tensor:
    """Structure donor, dynamics donor (the next clip) and both joined, uint8 `n c t h (3 w)`."""
    latents, donor = model.encode(video).mode(), video.roll(-1, 0)
    joined = model.decode(TwinLatents(latents.structure, model.encode(donor).mode().dynamics))
    return to_uint8(torch.cat([video, donor, joined], dim=-1)).cpu()


def enlarged(video: Tensor, smallest: int = SMALLEST) -> Tensor:
    """uint8 `n c t h w` to `n t H W c`; of videos less than `smallest` high every pixel becomes a square."""
    scale = -(-smallest // video.shape[-2])
    return rearrange(video, "n c t h w -> n t h w c").repeat_interleave(scale, 2).repeat_interleave(scale, 3)
