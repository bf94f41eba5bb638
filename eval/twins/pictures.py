"""The pictures of decoupling: whom each factor follows, and swaps to look at."""

from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor

from data.video.frames import write_video
from eval.twins.swaps import Twins
from generator.grid import film_strips, labelled_grid

COLOURS = {"structure": "#3b6fb6", "dynamics": "#e08a2e", "neither": "#b9b9b9"}
NAMES = {"structure": "structure's donor", "dynamics": "dynamics' donor", "neither": "neither"}
SHOWN, MOMENTS = 4, 3
HEIGHT = 0.26  # of a bar, where factors are 1 apart


def draw_following(figures: dict, path: Path) -> None:
    """Bars for each factor: the shares that follow structure's donor, dynamics' donor and neither, with intervals."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    factors = figures["factors"]
    figure = Figure(figsize=(9.5, 1.6 + 0.95 * len(factors)), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    for place, found in enumerate(factors.values()):
        for row, name in enumerate(COLOURS):
            _draw_bar(axis, place + (row - 1) * HEIGHT, name, found, NAMES[name] if place == 0 else None)
        for name, style in (("reconstruction", "-"), ("chance", ":")):
            label = {"reconstruction": "the unswapped reconstruction", "chance": "chance"}[name] if place == 0 else None
            ends = [place - 1.7 * HEIGHT, place + 0.5 * HEIGHT]
            axis.plot([found[name]] * 2, ends, style, color="black", linewidth=1.5, label=label)
    axis.set_yticks(range(len(factors)), factors, fontsize=11)
    axis.invert_yaxis()
    axis.set_xlim(0, 1.25)
    axis.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_title("Whom swaps follow" + _score_said(figures["score"]), fontsize=11, loc="left")
    figure.legend(loc="outside lower center", ncols=5, fontsize=9, frameon=False)
    figure.savefig(path, dpi=120)


def _draw_bar(axis: "matplotlib.axes.Axes", height: float, name: str, found: dict, label: str | None) -> None:
    """One share with its interval; a tick where it is the one that ought to be long."""
    value, (low, high) = found[name]["value"], found[name]["interval"]
    axis.barh(height, value, color=COLOURS[name], height=0.9 * HEIGHT, label=label)
    axis.plot([low, high], [height, height], color="black", linewidth=1, alpha=0.5)
    ought = found.get("latent") == name
    said = f"{value:.0%}" + (f"  ought to be {found['reconstruction']:.0%}" if ought else "")
    style = {"weight": "bold" if ought else "normal", "bbox": {"facecolor": "white", "edgecolor": "none", "pad": 1}}
    start = max(value, high, found["reconstruction"] if ought else 0)
    axis.text(start + 0.014, height, said, va="center", fontsize=9, **style)


def _score_said(score: dict | None) -> str:
    if score is None:
        return ""
    low, high = score["interval"]
    return f"; decoupling score {score['value']:.2f} ({low:.2f} to {high:.2f})".replace("-", "−")


def draw_swaps(clips: Tensor, labels: Tensor, names: tuple[str, ...], twins: Twins, fps: float, out: Path) -> None:
    """`swaps.mp4` and `.png`: structure of each row's clip with dynamics of each column's; on the diagonal both."""
    places = torch.tensor([int(torch.nonzero(labels == label)[0]) for label in labels.unique()[:SHOWN]])
    grid, captions = swap_table(clips, [names[labels[place]] for place in places], twins, places)
    columns = len(places) + 1
    write_video(out / "swaps.mp4", labelled_grid(grid, captions, columns), fps)
    film_strips(grid, captions, MOMENTS, columns).save(out / "swaps.png")


def swap_table(clips: Tensor, titles: list[str], twins: Twins, places: Tensor) -> tuple[Tensor, list[str]]:
    """Swaps between the clips at these places, uint8 `n c t h w`, of `twins`, with the clips at both margins.

    Returns:
        uint8 `(p + 1)² t h w c` row by row, and what stands above each.
    """
    count, donors = len(places), clips[places]
    rows = twins(places.repeat_interleave(count), places.repeat(count)).split(count)
    cells, captions = [torch.full_like(donors[:1], 255), donors], ["", *(f"dynamics: {name}" for name in titles)]
    for donor, title, joined in zip(donors, titles, rows, strict=True):
        cells += [donor[None], joined]
        captions += [f"structure: {title}", *[""] * count]
    return rearrange(torch.cat(cells), "n c t h w -> n t h w c"), captions
