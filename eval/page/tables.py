"""The paper's tables with this run beside the rows that are quoted from it."""

from typing import Any, NamedTuple

from eval.page.quoted import SOURCE, TABLE_1, TABLE_2
from eval.page.run import Run, Section

NOT_MEASURED = "–"


class Row(NamedTuple):
    """Of a table: whose it is, whether it is quoted from a paper, and its cells."""

    name: str
    quoted: bool
    cells: tuple[str, ...]


def tables(run: Run) -> Section:
    figures = run.figures
    return Section(
        "tables",
        "Beside the paper",
        f"Rows marked “quoted” are figures of {SOURCE}, none of them measured here. This run’s stand beside them for "
        "orientation: on other data and at another size a decibel or an FVD does not compare.",
        "tables.html",
        {"tables": [reconstruction(run, figures), generation(run, figures)]},
    )


def reconstruction(run: Run, figures: dict[str, Any]) -> dict[str, Any]:
    frames, height, width = figures["clip"]
    quoted = [Row(row.name, True, cells(row.rate, row.psnr, row.lpips, row.ssim, f"{row.fvd:.2f}")) for row in TABLE_1]
    lpips = figures.get("lpips", {}).get("reconstruction")
    psnr, ssim = (figures[name]["reconstruction"] for name in ("psnr", "ssim"))
    own = Row(run.name, False, cells(100 * figures["rate"], psnr, lpips, ssim, NOT_MEASURED))
    return {
        "title": "Reconstruction (Table 1)",
        "head": ("rate", "PSNR ↑", "LPIPS ↓", "SSIM ↑", "FVD ↓"),
        "rows": [*quoted, own],
        "note": f"Quoted: MCL-JCV, 25 fps, 16×224×224. This run: {figures['clips']} test clips of {figures['data']}, "
        f"{figures['fps']:g} fps, {frames}×{height}×{width}. Rate: latent values over pixel values.",
    }


def cells(rate: float, psnr: float, lpips: float | None, ssim: float, fvd: str) -> tuple[str, ...]:
    return f"{rate:.2f} %", f"{psnr:.3f}", NOT_MEASURED if lpips is None else f"{lpips:.4f}", f"{ssim:.4f}", fvd


def generation(run: Run, figures: dict[str, Any]) -> dict[str, Any]:
    results = [run.json(f"evaluation/{file.name}") for file in run.find("evaluation/fvd*.json")]
    own = [Row(run.name, False, (f"{found['fvd']:.1f}", said(found))) for found in results]
    quoted = [Row(row.name, True, (f"{row.fvd:g}", "UCF-101, class-conditional")) for row in TABLE_2]
    return {
        "title": "Generation (Table 2)",
        "head": ("FVD ↓", "of"),
        "rows": [*quoted, *(own or [Row(run.name, False, (NOT_MEASURED, "not measured here"))])],
        "note": "FVD depends on how many videos are compared, and on which frames, filter and features: the quoted "
        "rows were not all measured alike.",
    }


def said(result: dict[str, Any]) -> str:
    return f"{result['num_generated']} videos against {result['num_real']}, {result['protocol']}"
