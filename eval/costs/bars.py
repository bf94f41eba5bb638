"""The picture of Figure 5: a bar for each tokenizer, FLOPs and memory, in patches of two and position by position."""

from collections.abc import Sequence
from pathlib import Path

from eval.costs.claims import CLAIMED
from eval.costs.pseudo_dit import PATCHES, Reading, Row
from eval.costs.tokenizers import Kind, Tokenizer

COLOURS: dict[Kind, str] = {"ours": "#d1495b", "table 1": "#30638e", "table 3": "#7fa7c9", "diffusers": "#b8b8b8"}
LABELS: dict[Kind, str] = {
    "ours": "VidTwin",
    "table 1": "peers of its Table 1",
    "table 3": "peers of its generator",
    "diffusers": "in diffusers",
}
QUANTITIES = {"flops": (1e9, "GFLOP of a training step"), "memory": (1e9, "GB at most, with Adam")}
BAR = Reading(4, 2, "fused")


def draw_figure(rows: Sequence[Row], tokenizers: Sequence[Tokenizer], path: Path) -> None:
    """Four layers and fused attention as bars; rings are plain attention, shading the claim against the first bar."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(PATCHES), 2, figsize=(13, 1.2 + 0.56 * len(tokenizers)), sharey=True)
    for line, patch in zip(axes, PATCHES, strict=True):
        for axis, quantity in zip(line, QUANTITIES, strict=True):
            draw_panel(axis, rows, tokenizers, patch, quantity)
    patches = [pyplot.Rectangle((0, 0), 1, 1, color=colour) for colour in COLOURS.values()]
    claim = pyplot.Rectangle((0, 0), 1, 1, color="#f2d16b", alpha=0.5)
    ring = pyplot.Line2D([], [], marker="o", color="#444444", fillstyle="none", linestyle="none")
    handles, names = [*patches, claim, ring], [*LABELS.values(), "claimed", "plain attention"]
    figure.legend(handles, names, loc="lower center", ncols=len(names), frameon=False)
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def draw_panel(axis, rows: Sequence[Row], tokenizers: Sequence[Tokenizer], patch: int, quantity: str) -> None:
    unit, heading = QUANTITIES[quantity]

    def values(attention: str) -> list[float]:
        wanted = Reading(BAR.layers, patch, attention)
        found = {row.tokenizer: getattr(row, quantity) / unit for row in rows if row.reading == wanted}
        return [found[each.name] for each in tokenizers]

    names, fused = [each.name for each in tokenizers], values(BAR.attention)
    low, high = (times * fused[0] for times in CLAIMED[quantity])
    axis.axvspan(low, high, color="#f2d16b", alpha=0.5, linewidth=0, zorder=0)
    axis.barh(names, fused, color=[COLOURS[each.kind] for each in tokenizers], zorder=2)
    for name, value in zip(names, fused, strict=True):
        place = {"transform": axis.get_yaxis_transform(), "va": "center", "ha": "right"}
        axis.text(1.1, name, f"{value / fused[0]:.3g}×", fontsize=9, **place)
    if quantity == "memory":
        axis.plot(values("plain"), names, "o", color="#444444", fillstyle="none", zorder=3)
    axis.set_xscale("log")
    axis.set_xlim(left=min(fused) / 3)
    axis.margins(y=0.01)
    how = "patches of 2" if patch == 2 else "every position a token"
    axis.set_title(f"{heading}: {how}", fontsize=11)
    axis.spines[["top", "right"]].set_visible(False)
    if not axis.yaxis_inverted():
        axis.invert_yaxis()
