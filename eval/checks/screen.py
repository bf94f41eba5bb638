"""The table of checks on one screen of 100 by 40 characters."""

from collections.abc import Sequence

from eval.checks.check import Row

WIDTH = 100
STYLES = {"passed": "green", "failed": "red", "not reached": "yellow"}


def print_rows(rows: Sequence[Row], title: str, caption: str) -> None:
    """One line a row, cut where it is too long; the whole is in the JSON."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title, caption=caption, width=WIDTH, show_edge=False)
    table.add_column("check", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("s", justify="right", no_wrap=True)
    table.add_column("what it says", no_wrap=True, overflow="ellipsis", ratio=1)
    for row in rows:
        verdict = f"[{STYLES[row.verdict]}]{row.verdict}[/]"
        table.add_row(row.name, verdict, f"{row.seconds:.0f}", escape(row.said))
    Console(width=WIDTH).print(table)
