"""The table and the plot of an ablation: every variant's figures with their spread over seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from eval.ablations.cell import Cell
from eval.ablations.variants import BASE, Variant
from runtime.files import write_json, write_text

MEASURES = {
    "error": "error of denoised test latents",
    "accuracy": "classified as asked",
    "classifier_frechet": "Fréchet distance (classifier)",
}
DIGITS = {"error": 4, "accuracy": 3, "classifier_frechet": 2}
ABOUT = """\
Each figure is the mean over {seeds} with half the distance between the least and the greatest of them. The error is the
mean squared error of the clean latents that the model sees in noisy test latents, at five fixed ratios of noise to
signal: it compares all objectives, as training losses do not. Accuracy is of {num} generated videos, the distance is
theirs to the test videos in the classifier's features (no FVD)."""


@dataclass(frozen=True)
class Row:
    """A variant and its figures, one for each seed."""

    variant: Variant
    figures: list[dict[str, float]]

    def values(self, measure: str) -> list[float]:
        return [found[measure] for found in self.figures]

    def said(self, measure: str) -> str:
        values = self.values(measure)
        digits, spread = DIGITS[measure], (max(values) - min(values)) / 2
        return f"{mean(values):.{digits}f} ± {spread:.{digits}f}"


def rows_of(cells: Sequence[Cell]) -> list[Row]:
    """The variants of which something was measured, in their order."""
    variants = {cell.variant.name: cell.variant for cell in cells}
    found = {name: [cell.figures for cell in cells if cell.variant.name == name] for name in variants}
    rows = [Row(variant, [each for each in found[name] if each]) for name, variant in variants.items()]
    return [row for row in rows if row.figures]


def write_results(rows: Sequence[Row], num: int, out: Path) -> None:
    """`ablation.md`, `ablation.json` and `ablation.png`."""
    content = [
        {
            "name": row.variant.name,
            "changes": row.variant.changes,
            "after": row.variant.after,
            "seeds": row.figures,
        }
        for row in rows
    ]
    write_json(out / "ablation.json", {"num": num, "variants": content})
    write_text(out / "ablation.md", markdown(rows, num))
    draw(rows, out / "ablation.png")


def markdown(rows: Sequence[Row], num: int) -> str:
    counts = sorted({len(row.figures) for row in rows})
    seeds = " or ".join(map(str, counts)) + (" seed" if counts == [1] else " seeds")
    head = ["variant", "changes", "M parameters", "ms a step", *MEASURES.values()]
    lines = [head, ["---", "---", *["---:"] * (len(head) - 2)], *map(line, rows)]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return f"{ABOUT.format(seeds=seeds, num=num)}\n\n{table}\n"


def line(row: Row) -> list[str]:
    parameters, milliseconds = (mean(row.values(name)) for name in ("parameters", "step_ms"))
    sizes = [f"{parameters / 1e6:.2f}", f"{milliseconds:.0f}"]
    return [row.variant.name, changes(row.variant), *sizes, *map(row.said, MEASURES)]


def changes(variant: Variant) -> str:
    """As the command line would have them; of a variant that is added to another, to which."""
    if variant.after:
        return f"added to *{variant.after}*"
    return f"`{' '.join(variant.overrides)}`" if variant.changes else ""


def draw(rows: Sequence[Row], path: Path) -> None:
    """A plot for each measure: the seeds as dots on a bar, the base as a line across all variants."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 1.4 + 0.3 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(MEASURES), sharey=True)
    # Those that are added one to another begin after a gap.
    places = [-number - bool(row.variant.after) for number, row in enumerate(rows)]
    base = next((row for row in rows if row.variant.name == BASE), None)
    for axis, (measure, title) in zip(axes, MEASURES.items(), strict=True):
        if base:
            axis.axvline(mean(base.values(measure)), color="grey", linestyle="--", linewidth=1)
        for place, row in zip(places, rows, strict=True):
            values, colour = row.values(measure), "C1" if row.variant.after else "C0"
            axis.hlines(place, min(values), max(values), color=colour, linewidth=3, alpha=0.4)
            axis.plot(values, [place] * len(values), "o", color=colour, markersize=4)
            axis.plot(mean(values), place, "|", color=colour, markersize=12)
        axis.set_title(title, fontsize=10)
        axis.grid(axis="x", alpha=0.3)
    axes[0].set_yticks(places, [row.variant.name for row in rows], fontsize=9)
    partial = path.with_name(f".{path.name}")
    figure.savefig(partial, dpi=110)
    partial.replace(path)
