"""From scores to what people read: a row for each output, a table, a CSV file with a line for each clip."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from eval.measures.sampling_error import mean_and_error
from eval.measures.windows import WindowDataset
from eval.reconstructions.measure import Scores
from eval.reconstructions.outputs import REAL, TRIVIAL, WHOLE

BITS_OF_A_VALUE = 16  # that latents are usually kept in; nothing says that they need so many

GAP = 3  # between columns that are printed, at most
METRICS = ("psnr", "ssim", "lpips", "temporal_psnr", "accuracy")
HEADINGS = {
    "psnr": "PSNR, dB",
    "ssim": "SSIM",
    "lpips": "LPIPS",
    "temporal_psnr": "changes, dB",
    "accuracy": "accuracy",
}


@dataclass(frozen=True)
class Row:
    """One output of one model over the whole data set.

    Attributes:
        rate: latent values over pixel values; None for a codec.
        bits: of a clip on average: those that a codec wrote, or `BITS_OF_A_VALUE` for each latent value.
        overhead: bits of container and headers beside them.
        metrics: mean and standard error over videos.
        fvd: of all clips against the clips themselves; None where it is not measured.
    """

    model: str
    output: str
    values: int | None
    rate: float | None
    bits: float | None
    bits_per_pixel: float | None
    overhead: float | None
    metrics: dict[str, tuple[float, float | None]]
    fvd: float | None = None

    def as_json(self) -> dict[str, object]:
        found = {name: dict(zip(("mean", "standard_error"), each, strict=True)) for name, each in self.metrics.items()}
        return {**{name: value for name, value in vars(self).items() if name != "metrics"}, **found}


def row_of(model: str, output: str, scores: Scores, clips: WindowDataset, fvd: float | None) -> Row:
    """Totals of one output."""
    pixels = prod((clips.frames, *clips.size))
    values, written, overhead = (known_mean(column) for column in scores.record[:, 1:].T)
    bits = written if written is not None else values and values * BITS_OF_A_VALUE
    videos = torch.tensor([clips.video_of(place) for place in scores.places])
    return Row(
        model,
        output,
        values and round(values),
        values and values / (3 * pixels),
        bits,
        bits and bits / pixels,
        overhead,
        {name: mean_and_error(scores.by_clip(name), videos) for name in METRICS if name in scores.metrics},
        fvd,
    )


def known_mean(column: Tensor) -> float | None:
    return None if column.isnan().any() else column.mean().item()


def csv_of(scores: dict[tuple[str, str], Scores], clips: WindowDataset) -> str:
    """Every metric of every clip of every (model, output)."""
    text = io.StringIO()
    metrics = [name for name in METRICS if any(name in each.metrics for each in scores.values())]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["model", "output", "video", "first_frame", "bits", *metrics])
    for (model, output), each in scores.items():
        columns = [each.by_clip(name).tolist() if name in each.metrics else None for name in metrics]
        for n, place in enumerate(each.places):
            bits = each.record[n, 2].item()
            figures = [f"{column[n]:.6g}" if column else "" for column in columns]
            where = clips.name(place), clips.first_frame(place), f"{bits:g}" if bits == bits else ""
            writer.writerow([model, output, *where, *figures])
    return text.getvalue()


def print_rows(rows: Sequence[Row]) -> None:
    """Wrapped between words and never inside a figure, however narrow the terminal."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    metrics = [name for name in METRICS if any(name in row.metrics for row in rows)]
    columns = {
        "": [label(row.model, row.output) for row in rows],
        "rate": [row.rate and f"{row.rate:.3%}" for row in rows],
        "bits a pixel": [row.bits_per_pixel and f"{row.bits_per_pixel:.3f}" for row in rows],
        **{
            HEADINGS[name]: [row.metrics.get(name) and with_error(name, *row.metrics[name]) for row in rows]
            for name in metrics
        },
        "FVD": [None if row.fvd is None else f"{row.fvd:.2f}" for row in rows],
    }
    columns = {heading: cells for heading, cells in columns.items() if any(cells)}
    table, narrowest = Table(box=SIMPLE, pad_edge=False, padding=(0, 0, 0, 1)), 0
    for heading, cells in columns.items():
        longest = max(len(word) for text in (heading, *cells) for word in (text or "").split())
        narrowest += longest + GAP
        table.add_column(heading, justify="right" if heading else "left", min_width=longest)
    for cells in zip(*columns.values(), strict=True):
        table.add_row(*cells)
    console = Console()
    console.width = max(console.width, narrowest)
    console.print(table)


def label(model: str, output: str) -> str:
    """An output as tables and figures call it."""
    named = {WHOLE: model, TRIVIAL: "mean frame", REAL: "real clips"}
    return named.get(output, f"{model}: {output}")


def with_error(metric: str, mean: float, error: float | None) -> str:
    digits = 2 if metric.endswith("psnr") else 3
    return f"{mean:.{digits}f}" if error is None else f"{mean:.{digits}f} ±{error:.{digits}f}"


def print_quoted(source: str, rows: Sequence[object]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("model", "rate", "PSNR, dB", "SSIM", "LPIPS", "FVD", title=f"quoted, not measured here: {source}")
    for row in rows:
        figures = f"{row.psnr:.3f}", f"{row.ssim:.4f}", f"{row.lpips:.4f}", f"{row.fvd:.2f}"
        table.add_row(row.model, f"{row.rate:.2%}", *figures)
    Console().print(table)
