"""Sections of figures: training curves, and what other commands measured of the run."""

from collections.abc import Sequence
from typing import Any

from eval.page.charts import Points, line_chart
from eval.page.media import Media
from eval.page.run import Missing, Run, Section
from eval.page.tables import Row, cells

# For each stage its charts: title, logarithmic, and the curves with the metric that each shows.
CHARTS = {
    "metrics.jsonl": (
        ("Stage one: PSNR, dB", False, {"training": "psnr", "held out": "validation/psnr"}),
        ("Stage one: loss", True, {"loss": "loss"}),
        ("Stage one: KL, nats a clip", False, {"KL": "kl"}),
    ),
    "generator/metrics.jsonl": (
        ("Stage two: loss", False, {"loss": "loss", "structure": "structure", "dynamics": "dynamics"}),
        ("Stage two: gradient norm", True, {"gradient norm": "gradient_norm/transformer"}),
    ),
}


def curves(run: Run) -> Section | None:
    charts = []
    for file, kinds in CHARTS.items():
        rows = run.rows(file)
        for title, logarithmic, metrics in kinds:
            found = {name: points for name, metric in metrics.items() if (points := points_of(rows, metric))}
            if found:
                positive = all(y > 0 for points in found.values() for _, y in points)
                charts.append({"title": title, "svg": line_chart(found, logarithmic and positive)})
    lead = "Against the optimizer step."
    return Section("curves", "Training", lead, "curves.html", {"charts": charts}) if charts else None


def points_of(rows: Sequence[dict[str, float]], metric: str) -> Points:
    return [(row["step"], row[metric]) for row in rows if metric in row]


def decoupling(run: Run, media: Media) -> Section | Missing | None:
    if not run.find("evaluation/decoupling.json"):
        command = f"python -m eval.decoupling {of(run)}"
        return Missing("How well structure and dynamics are told apart", command) if is_judged(run) else None
    return pictured(
        media,
        [run.folder / "evaluation/decoupling.png"],
        "decoupling",
        "Told apart, in figures",
        "Structure and dynamics are swapped between videos whose motion, shape, colours and background are known, and "
        "classifiers say whose of the two each follows.",
    )


def sweep(run: Run, media: Media) -> Section | Missing | None:
    cells = run.json("evaluation/sweep.json")
    if not cells:
        command = f"python -m eval.generation.sweep {of(run)}"
        return Missing("Steps, guidance and schedulers", command) if has_samples(run) and is_judged(run) else None
    return pictured(
        media,
        [run.folder / "evaluation/sweep.png"],
        "sweep",
        "Steps, guidance, schedulers",
        f"Samples drawn in {len(cells)} ways, {cells[0]['num']} of each: brighter is better.",
    )


def conditional(run: Run, media: Media) -> Section | Missing | None:
    figures = run.json("evaluation/conditional.json")
    if not figures:
        command = f"python -m eval.generation.conditional {of(run)}"
        what = "One latent for the other (of a generator with a time for each)"
        return Missing(what, command) if has_samples(run) and is_judged(run) else None
    columns = {
        "accuracy": ("motion as asked", "{:.0%}"),
        "appearance_of_donor": ("looks of the donor, dB", "{:.1f}"),
        "appearance_of_another": ("of another video, dB", "{:.1f}"),
    }
    rows = [Row(way, False, cells(found, columns)) for way, found in figures.items()]
    table = {"title": "", "head": [head for head, _ in columns.values()], "rows": rows, "note": ""}
    lead = "Videos drawn for a given structure or given dynamics: PSNR of mean frames says whether the looks stay."
    content = {"tables": [table], "video": media(run.folder / "evaluation/conditional.mp4")}
    return Section("conditional", "One latent for the other", lead, "tables.html", content)


def protocols(run: Run) -> Section | Missing | None:
    """What another person needs to repeat each FVD."""
    results = [run.json(f"evaluation/{file.name}") for file in run.find("evaluation/fvd*.json")]
    if not results:
        samples, output = (run.folder / name for name in ("samples", "evaluation/fvd.json"))
        command = f"python -m eval.fvd {run.figures['data']} {samples} --output {output}"
        return Missing("FVD of generated videos, with the I3D network", command) if has_samples(run) else None
    rows = [{"fvd": f"{found['fvd']:.2f}", "protocol": protocol_of(found)} for found in results]
    lead = "An FVD means something beside another one only if all of this agrees."
    return Section("protocols", "How FVD was measured", lead, "protocols.html", {"rows": rows})


def protocol_of(result: dict[str, Any]) -> str:
    """The string that the result carries; else everything that it says beside the figure, in a line."""
    told = ((key, value) for key, value in result.items() if key not in ("fvd", "real", "generated"))
    return result.get("protocol_string") or "; ".join(f"{key} {value}" for key, value in told)


def pictured(media: Media, files: Sequence, anchor: str, title: str, lead: str) -> Section | None:
    pictures = [uri for file in files if (uri := media(file))]
    return Section(anchor, title, lead, "pictures.html", {"pictures": pictures}) if pictures else None


def of(run: Run) -> str:
    """The options that name the run and its data."""
    return f"--run {run.folder} --data {run.figures['data']}"


def is_judged(run: Run) -> bool:
    """Whether its data set has classes that a classifier was trained on."""
    return "accuracy" in run.figures


def has_samples(run: Run) -> bool:
    return bool(run.json("evaluation/players/players.json")["samples"])
