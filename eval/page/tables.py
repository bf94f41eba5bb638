"""The paper's tables with this run beside the rows that are quoted from it."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from eval.page.media import Media
from eval.page.published import SOURCE, TABLE_1, TABLE_2
from eval.page.run import Run, Section

NOT_MEASURED = "–"
COLUMNS = {
    "rate": ("rate", "{:.2%}"),
    "psnr": ("PSNR ↑", "{:.3f}"),
    "lpips": ("LPIPS ↓", "{:.4f}"),
    "ssim": ("SSIM ↑", "{:.4f}"),
    "fvd": ("FVD ↓", "{:.2f}"),
}
COMPARED = {"bits_per_pixel": ("bits a pixel", "{:.3f}"), **COLUMNS}
FIGURES = {"-rate.png": "Quality against bits a pixel", "-time.png": "PSNR by place in the clip"}
"""What `eval.reconstruction` draws beside a table, and says by it."""


class Row(NamedTuple):
    """Of a table: whose it is, whether it is quoted from a paper, and its cells."""

    name: str
    quoted: bool
    cells: list[str]


def tables(run: Run, media: Media) -> Section:
    figures = run.figures
    return Section(
        "tables",
        "Beside the paper",
        f"Rows marked “quoted” are figures of {SOURCE}, none of them measured here. This run’s stand beside them for "
        "orientation: on other data and at another size a decibel or an FVD does not compare.",
        "tables.html",
        {"tables": [reconstruction(run, figures), *compared(run, media), generation(run)]},
    )


def cells(values: Mapping[str, float | None], columns: Mapping[str, tuple[str, str]] = COLUMNS) -> list[str]:
    """One for each column, of a name to its heading and the form of its figures."""
    found = {name: values.get(name) for name in columns}
    return [NOT_MEASURED if found[name] is None else form.format(found[name]) for name, (_, form) in columns.items()]


def head(columns: Mapping[str, tuple[str, str]]) -> list[str]:
    return [heading for heading, _ in columns.values()]


def reconstruction(run: Run, figures: dict[str, Any]) -> dict[str, Any]:
    frames, height, width = figures["clip"]
    own = {name: figures.get(name, {}).get("reconstruction") for name in ("psnr", "lpips", "ssim")}
    return {
        "title": "Reconstruction (Table 1)",
        "head": head(COLUMNS),
        "rows": [
            *(Row(row.model, True, cells(vars(row))) for row in TABLE_1),
            Row(run.name, False, cells({"rate": figures["rate"], **own})),
        ],
        "note": f"Quoted: MCL-JCV, 25 fps, 16×224×224. This run: {figures['clips']} test clips of {figures['data']}, "
        f"{figures['fps']:g} fps, {frames}×{height}×{width}. Rate: latent values over pixel values.",
    }


def compared(run: Run, media: Media) -> Iterator[dict[str, Any]]:
    """Of each table of several models that `eval.reconstruction` left in the run, with its figures."""
    for file in (*run.find("reconstruction*.json"), *run.find("evaluation/reconstruction*.json")):
        found = run.json(str(file.relative_to(run.folder)))
        whole = [row for row in found.get("rows", []) if row["output"] == "reconstruction"]
        means = [{name: row[name]["mean"] for name in ("psnr", "lpips", "ssim") if name in row} for row in whole]
        rows = [
            Row(row["model"], False, cells({**row, **mean}, COMPARED)) for row, mean in zip(whole, means, strict=True)
        ]
        if rows:
            drawn = ((media(file.with_name(file.stem + ending)), said) for ending, said in FIGURES.items())
            clip = "×".join(map(str, (found["frames"], *found["size"])))
            note = f"{found['clips']} clips of {clip} at {found['fps']:g} fps, all rows on the same."
            yield {
                "title": f"Reconstruction of {found['data']}",
                "head": head(COMPARED),
                "rows": rows,
                "note": note,
                "figures": [(uri, said) for uri, said in drawn if uri],
            }


def generation(run: Run) -> dict[str, Any]:
    results = [run.json(f"evaluation/{file.name}") for file in run.find("evaluation/fvd*.json")]
    own = [Row(run.name, False, [f"{found['fvd']:.1f}", said(found)]) for found in results]
    quoted = [Row(row.model, True, [f"{row.fvd:g}", "UCF-101, class-conditional"]) for row in TABLE_2]
    return {
        "title": "Generation (Table 2)",
        "head": ["FVD ↓", "of"],
        "rows": [*quoted, *(own or [Row(run.name, False, [NOT_MEASURED, "not measured here"])])],
        "note": "FVD depends on how many videos are compared, and on which frames, filter and features: the quoted "
        "rows were not all measured alike.",
    }


def said(result: dict[str, Any]) -> str:
    return f"{result['num_generated']} videos against {result['num_real']}, {result['protocol']}"
