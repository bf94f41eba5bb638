"""Figures of reconstructions: error over time, the best and worst clips, rate against quality."""

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from einops import rearrange
from torch import Tensor

from data.video.frames import to_float, to_uint8
from eval.measures.sampling_error import mean_and_error
from eval.measures.windows import WindowDataset
from eval.reconstructions.measure import Scores
from eval.reconstructions.outputs import WHOLE, Outputs
from eval.reconstructions.results import BITS_OF_A_VALUE, HEADINGS, Row, label
from runtime.precision import full_precision

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOMENTS = 8
SMALLEST_PICTURE = 112  # rows; smaller frames are enlarged
# Of points: open, and each of its own, so that models that are equal can be seen behind one another.
SHAPES = [{"marker": shape, "fillstyle": "none", "markersize": size} for size in (6, 9) for shape in "soD^v<>P"]
RANKS = ("worst", "median", "best")


def draw_error_over_time(scores: dict[tuple[str, str], Scores], clips: WindowDataset, path: Path) -> None:
    """PSNR by place in the clip, with its standard error over videos, a curve for each (model, output)."""
    [axis], save = panels(1, 5.5)
    for (key, each), shape in zip(scores.items(), cycle(SHAPES), strict=False):
        videos = torch.tensor([clips.video_of(place) for place in each.places])
        found = [mean_and_error(column, videos) for column in each.metrics["psnr"].T]
        mean, error = torch.tensor([(mean, error or 0.0) for mean, error in found]).T
        places = range(1, len(mean) + 1)
        axis.plot(places, mean, **shape, label=label(*key))
        axis.fill_between(places, mean - error, mean + error, alpha=0.2, linewidth=0)
    axis.set_xlabel(f"frame of the clip, {clips.fps:g} a second")
    axis.set_ylabel("PSNR, dB")
    legend_above(axis, len(scores))
    save(path)


def draw_rate_quality(rows: Sequence[Row], path: Path) -> None:
    """Each metric against the bits of a pixel, a point for each row that has bits."""
    from matplotlib.ticker import LogLocator, NullLocator

    rows = [row for row in rows if row.bits_per_pixel]
    metrics = [name for name in ("psnr", "ssim", "lpips") if all(name in row.metrics for row in rows)]
    axes, save = panels(len(metrics), 4.4)
    for axis, metric in zip(axes, metrics, strict=True):
        for row, shape in zip(rows, cycle(SHAPES), strict=False):
            mean, error = row.metrics[metric]
            style = {**shape, "capsize": 3, "linestyle": "none"}
            axis.errorbar(row.bits_per_pixel, mean, error, label=label(row.model, row.output), **style)
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_xlabel("bits a pixel")
        axis.set_title(HEADINGS[metric] + ("; lower is better" if metric == "lpips" else ""), fontsize=10)
        axis.margins(0.12)
    figure = axes[0].figure
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    figure.suptitle(f"a latent value counts as {BITS_OF_A_VALUE} bits; a codec's bits are those it wrote", fontsize=9)
    save(path)


def panels(count: int, width: float) -> tuple[list["Axes"], object]:
    """Axes side by side, and what writes their figure to a file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * count, 4), layout="constrained", dpi=120)
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, count, squeeze=False)[0].tolist()
    for axis in axes:
        axis.grid(alpha=0.3)
    return axes, figure.savefig


def legend_above(axis: "Axes", entries: int) -> None:
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=min(entries, 3), fontsize=8, frameon=False)


def draw_strips(outputs_of: Outputs, scores: Scores, clips: WindowDataset, device: torch.device, path: Path) -> None:
    """The worst, the median and the best clip by PSNR: moments of the original above those of the reconstruction."""
    from PIL import Image

    from generator.grid import labelled_grid

    psnr = scores.by_clip("psnr")
    order = psnr.argsort()
    chosen = dict(zip(RANKS, (order[0], order[len(order) // 2], order[-1]), strict=True))
    strips, captions = [], []
    for rank, n in chosen.items():
        place = scores.places[n]
        strips.append(beside_original(outputs_of, clips[place]["video"], device))
        captions.append(
            f"{rank}: {psnr[n]:.1f} dB, {clips.name(place)} from frame {clips.first_frame(place)}; original above"
        )
    Image.fromarray(labelled_grid(torch.stack(strips)[:, None], captions, columns=1)[0].numpy()).save(path)


@full_precision()
@torch.inference_mode()
def beside_original(outputs_of: Outputs, clip: Tensor, device: torch.device) -> Tensor:
    """uint8 `c t h w` to `H W c`: moments side by side, the original's above the reconstruction's."""
    video = to_float(clip[None].to(device))
    both = torch.cat([video, outputs_of(video)[WHOLE].video])
    times = torch.linspace(0, clip.shape[1] - 1, MOMENTS).round().long()
    pictures = rearrange(to_uint8(both).cpu()[:, :, times], "k c f h w -> (k h) (f w) c")
    scale = max(1, SMALLEST_PICTURE // clip.shape[2])
    return pictures.repeat_interleave(scale, 0).repeat_interleave(scale, 1)
