"""The distance by number of videos, as a picture."""

from pathlib import Path

import torch


def draw_sweep(result: dict[str, object], path: Path) -> None:
    """Distances over 1/N with the line that ends at infinitely many, the interval at the right, and the floor."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    points = result["sweep"]
    inverse = [1 / point["count"] for point in points]
    axis.plot(inverse, [point["distance"] for point in points], "o", label="N of either side, chosen at random")
    low, high = result["interval"]
    bars = [[result["fvd"] - low], [high - result["fvd"]]]
    axis.errorbar(
        [inverse[-1]], [result["fvd"]], bars, fmt="D", color="black", capsize=4, label="all, with 95 % interval"
    )
    if result["fvd_infinity"] is not None:
        ends = torch.tensor([0, inverse[0]])
        axis.plot(ends, result["fvd_infinity"] + result["slope"] * ends, color="tab:gray", lw=1, zorder=0)
        label = f"extrapolated: {result['fvd_infinity']:.2f}"
        axis.plot(0, result["fvd_infinity"], "D", color="tab:orange", label=label, clip_on=False)
    if floor := result.get("checks", {}).get("floor"):
        axis.plot(1 / floor["count"], floor["real"], "s", color="tab:green", label="real against real")
    axis.set_xticks([0, *inverse], ["∞", *(str(point["count"]) for point in points)])
    axis.set_xlim(left=0)
    axis.set_ylim(bottom=0)
    axis.set_xlabel("N, videos of either side (drawn at 1/N)")
    axis.set_ylabel("FVD")
    axis.grid(alpha=0.3)
    axis.legend()
    partial = path.with_name(f".{path.name}.partial.png")
    figure.savefig(partial, dpi=110)
    partial.replace(path)
