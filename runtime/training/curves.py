"""The run's curves as one picture, for people without TensorBoard."""

import json
import math
from pathlib import Path

COLUMNS = 4
WIDTH, HEIGHT = 4.0, 2.6  # inches of one plot
TICKS = 5


def plot_curves(metrics: Path, picture: Path) -> None:
    """One small plot for each number in `metrics.jsonl`, against the step."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    curves: dict[str, list[tuple[int, float]]] = {}
    for line in metrics.read_text().splitlines():
        values = json.loads(line)
        for name in values.keys() - {"step"}:
            curves.setdefault(name, []).append((values["step"], values[name]))
    rows = math.ceil(len(curves) / COLUMNS)
    figure = Figure(figsize=(WIDTH * COLUMNS, HEIGHT * rows))
    FigureCanvasAgg(figure)
    # Margins by hand: a layout that measures every label takes three times as long as the drawing.
    margins = {"left": 0.5 / WIDTH / COLUMNS, "right": 1 - 0.1 / WIDTH / COLUMNS}
    margins |= {"bottom": 0.3 / HEIGHT / rows, "top": 1 - 0.3 / HEIGHT / rows, "wspace": 0.2, "hspace": 0.35}
    axes = figure.subplots(rows, COLUMNS, squeeze=False, gridspec_kw=margins).flat
    for (name, points), axis in zip(sorted(curves.items()), axes, strict=False):
        axis.plot(*zip(*points, strict=True), marker="." if len(points) < 20 else "", linewidth=1)
        axis.set_title(name, fontsize=9, y=1.0)  # elsewhere would be sought by measuring every label
        axis.tick_params(labelsize=7)
        axis.locator_params(nbins=TICKS)
        axis.grid(alpha=0.3)
    for axis in list(axes):
        axis.set_axis_off()
    partial = picture.with_name(f".{picture.name}")
    figure.savefig(partial, dpi=110)
    partial.replace(picture)
