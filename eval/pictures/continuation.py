"""Curves of samples that are longer than a window."""

from pathlib import Path


def draw_continuation(figures: dict[str, dict], path: Path) -> None:
    """Changes by place in a window, accuracy and brightness by window, of each source that `figures` names."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    titles = "frame against the one before, dB", "motion of its class, share", "brightness, of 255"
    axes = dict(zip(titles, figure.subplots(1, 3), strict=True))
    for name, found in figures.items():
        curves = found["psnr"]["by_place"], found["accuracy"], found["brightness"]["by_window"]
        for axis, curve in zip(axes.values(), curves, strict=True):
            axis.plot(range(1, len(curve) + 1), curve, marker=".", label=name)
    for title, axis in axes.items():
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("window")
        axis.grid(alpha=0.3)
    axes[titles[0]].set_xlabel("frame of the window; the last one's next is across the joint")
    axes[titles[1]].set_ylim(0, 1.02)
    axes[titles[0]].legend()
    figure.savefig(path, dpi=110)
