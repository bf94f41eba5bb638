"""Line charts as SVG that takes on the page's colours."""

from collections.abc import Mapping, Sequence
from io import StringIO

from markupsafe import Markup

SIZE = 4.0, 2.5  # inches; shown about as large, so that the text stays legible on a phone
INK = "#010203"  # stands for the page's text colour until the drawing is done
COLOURS = {"#010204": "var(--accent)", "#010205": "var(--second)", "#010206": "var(--third)"}
Points = Sequence[tuple[float, float]]


def line_chart(curves: Mapping[str, Points], logarithmic: bool = False) -> Markup:
    """Named curves of (x, y) over one another, at most three."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "vidtwin", "font.family": "sans-serif"}):
        figure = Figure(figsize=SIZE)
        FigureCanvasSVG(figure)
        axis = figure.add_axes((0.13, 0.12, 0.85, 0.84))
        for (name, points), colour in zip(curves.items(), COLOURS, strict=False):
            marker = "o" if len(points) < 12 else ""
            axis.plot(*zip(*points, strict=True), color=colour, label=name, marker=marker, markersize=4, linewidth=1.6)
        if logarithmic:
            axis.set_yscale("log")
        axis.spines[["top", "right"]].set_visible(False)
        axis.spines[:].set(color=INK, alpha=0.4)
        axis.tick_params(colors=INK, which="both", labelsize=9, length=3)
        axis.grid(color=INK, alpha=0.12, linewidth=0.7)
        axis.locator_params(axis="x", nbins=5)
        if len(curves) > 1:
            axis.legend(frameon=False, labelcolor=INK, fontsize=9)
        written = StringIO()
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None})
    return themed(written.getvalue())


def themed(svg: str) -> Markup:
    """From `<svg` on, as wide as its place, its colours the page's. matplotlib has escaped the text in it."""
    svg = svg[svg.index("<svg") :].replace(f'width="{SIZE[0] * 72:g}pt" height="{SIZE[1] * 72:g}pt"', 'role="img"')
    for drawn, shown in {INK: "currentColor", **COLOURS}.items():
        svg = svg.replace(drawn, shown)
    return Markup(svg)
