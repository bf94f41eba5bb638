"""The pictures of decoupling: whom each factor follows, and swaps to look at."""

from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor

from data.video.frames import write_video
from eval.twins.swaps import Twins
from eval.twins.table import headline
from generator.grid import film_strips, labelled_grid

COLOURS = {"structure": "#3b6fb6", "dynamics": "#e08a2e", "neither": "#c9c9c9"}
SHOWN, MOMENTS = 4, 3


def draw_following(figures: dict, path: Path) -> None:
    """A bar for each factor: the shares that follow structure's donor, dynamics' donor and neither."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    factors = figures["factors"]
    figure = Figure(figsize=(9.5, 1.9 + 0.62 * len(factors)), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    for place, found in enumerate(factors.values()):
        start = 0.0
        for name in ("structure", "neither", "dynamics"):
            value = found[name]["value"]
            axis.barh(place, value, left=start, color=COLOURS[name], height=0.62, label=name if place == 0 else None)
            if value > 0.05:
                axis.text(start + value / 2, place, f"{value:.0%}", ha="center", va="center", fontsize=9)
            start += value
        _mark(axis, place, found)
    axis.set_yticks(range(len(factors)), [_label(name, found) for name, found in factors.items()])
    axis.invert_yaxis()
    axis.set_xlim(0, 1)
    axis.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_title(headline(figures), fontsize=10, loc="left")
    handles, names = axis.get_legend_handles_labels()
    said = {"structure": "follows structure's donor", "dynamics": "follows dynamics' donor", "neither": "neither"}
    figure.legend(
        handles,
        [said.get(name, name) for name in names],
        loc="outside lower center",
        ncols=5,
        fontsize=8,
        frameon=False,
    )
    figure.savefig(path, dpi=120)


def _mark(axis: object, place: int, found: dict) -> None:
    """Ceiling and chance, from the side on which the right donor's share grows."""
    sides = [found["latent"]] if found.get("latent") else ["structure", "dynamics"]
    for side in sides:
        for name, style in (("reconstruction", "-"), ("chance", ":")):
            x = found[name] if side == "structure" else 1 - found[name]
            label = {"reconstruction": "unswapped reconstruction", "chance": "chance"}[name] if place == 0 else None
            label = label if side == sides[0] else None
            axis.plot([x, x], [place - 0.4, place + 0.4], style, color="black", linewidth=1.6, label=label)


def _label(name: str, found: dict) -> str:
    return f"{name}\n(ought to follow {found['latent']})" if found.get("latent") else name


def draw_swaps(clips: Tensor, labels: Tensor, names: tuple[str, ...], twins: Twins, fps: float, out: Path) -> None:
    """`swaps.mp4` and `.png`: structure of each row's clip with dynamics of each column's; on the diagonal both."""
    places = torch.tensor([int(torch.nonzero(labels == label)[0]) for label in labels.unique()[:SHOWN]])
    count, donors = len(places), clips[places]
    rows = twins(places.repeat_interleave(count), places.repeat(count)).split(count)
    titles = [names[labels[place]] for place in places]
    cells, captions = [torch.full_like(donors[:1], 255), donors], ["", *(f"dynamics: {name}" for name in titles)]
    for donor, title, joined in zip(donors, titles, rows, strict=True):
        cells += [donor[None], joined]
        captions += [f"structure: {title}", *[""] * count]
    grid = rearrange(torch.cat(cells), "n c t h w -> n t h w c")
    write_video(out / "swaps.mp4", labelled_grid(grid, captions, count + 1), fps)
    film_strips(grid, captions, MOMENTS, count + 1).save(out / "swaps.png")
