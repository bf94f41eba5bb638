"""The tables of decoupling, for the terminal and as Markdown."""

from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table as RichTable

from eval.twins.probes import INPUTS
from runtime.files import write_text

WIDTH = 160  # columns at least: a row with its intervals stays one
DONORS = ("structure's donor", "dynamics' donor")


class Table(NamedTuple):
    title: str
    head: list[str]
    rows: list[list[str]]

    def markdown(self) -> str:
        rule = ["---", *["---:"] * (len(self.head) - 1)]
        lines = (f"| {' | '.join(cells)} |" for cells in [self.head, rule, *self.rows])
        return f"{self.title}\n\n" + "\n".join(lines)

    def print(self) -> None:
        table = RichTable(self.head[0], title=self.title, title_justify="left")
        for name in self.head[1:]:
            table.add_column(name, justify="right")
        for row in self.rows:
            table.add_row(*row)
        Console(width=max(Console().width, WIDTH)).print(table)


def tables(figures: dict) -> list[Table]:
    """Of what `eval.decoupling` found: swaps, flow, and probes where there are any."""
    swaps = Table(
        f"Swaps, {figures['swaps']} of {figures['clips']} test clips: judges' accuracy, and whom swaps follow",
        ["factor (its latent)", "real clips", "reconstruction", *DONORS, "neither", "chance", "score", "ceiling"],
        [_factor_row(name, found) for name, found in figures["factors"].items()],
    )
    flow = figures["flow"]
    moved = Table(
        "Energy of the optical flow, correlation with",
        ["videos", *DONORS],
        [
            ["swaps", *(number(flow[donor]) for donor in ("structure", "dynamics"))],
            ["reconstructions (own clip)", number(flow["reconstruction"]), number(flow["reconstruction"])],
        ],
    )
    probes = Table(
        "Linear probes: accuracy, or R² of numbers, on test clips",
        ["factor", "measure", *INPUTS, "chance"],
        [
            [
                name,
                found["measure"].replace("R2", "R²"),
                *(number(found[given]) for given in INPUTS),
                f"{found['chance']:.2f}",
            ]
            for name, found in figures["probes"].items()
        ],
    )
    return [swaps, moved, *([probes] if probes.rows else [])]


def _factor_row(name: str, found: dict) -> list[str]:
    rights = [f"{found[each]:.1%}" for each in ("real", "reconstruction")]
    follows = [percent(found["structure"]), percent(found["dynamics"]), f"{found['neither']['value']:.1%}"]
    scores = ["not measurable", ""] if found.get("measurable") is False else ["", ""]
    if "score" in found:
        scores = [number(found["score"]), f"{found['reconstruction_score']['value']:.2f}"]
    owner = f" ({found['latent']})" if "latent" in found else ""
    return [name + owner, *rights, *follows, f"{found['chance']:.0%}", *scores]


def percent(share: dict) -> str:
    low, high = share["interval"]
    return f"{share['value']:.1%} ({round(100 * low)} to {round(100 * high)})"


def number(found: dict) -> str:
    low, high = found["interval"]
    return f"{found['value']:.2f} ({low:.2f} to {high:.2f})".replace("-", "−")


def headline(figures: dict) -> str:
    """The one number, in a line."""
    score = figures["score"]
    if score is None:
        return "no decoupling score: it takes a factor of each latent that real clips give away"
    parts = ", ".join(f"{name} {number(each)}" for name, each in score["latents"].items())
    return f"decoupling score {number(score)}; 1 is perfect, 0 chance ({parts})"


def write_markdown(path: Path, figures: dict) -> None:
    write_text(path, "\n\n".join([headline(figures), *(table.markdown() for table in tables(figures))]) + "\n")
