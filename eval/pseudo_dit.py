"""The paper's Figure 5: what one small transformer costs on the latents of VidTwin and of other tokenizers.

`python eval/pseudo_dit.py --output pseudo_dit.json --plot pseudo_dit.png`

FLOPs are counted on meta tensors and memory is traced on fake ones, in each reading of what the paper says, and its
claims (4 to 8 times the FLOPs, 2 to 3 times the memory) are held against them. Nothing is trained or allocated.
"""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from eval.costs.bars import draw_figure
from eval.costs.claims import CLAIMED, ratios, verdict
from eval.costs.pseudo_dit import LAYERS, PATCHES, Reading, Row, cost_rows, readings
from eval.costs.tokenizers import Tokenizer, all_tokenizers
from runtime.files import write_json
from runtime.options import OptionParser
from runtime.progress import track
from runtime.script import script


def print_table(rows: Sequence[Row], tokenizers: Sequence[Tokenizer]) -> None:
    """A line for each tokenizer at the layers that the paper's printed count has; factors are to the first line."""
    from rich.console import Console
    from rich.table import Table

    table = Table("", "clip", title=f"a training step of the pseudo-DiT, {LAYERS[0]} layers, batch 1")
    for patch in PATCHES:
        for heading in ("tokens", "GFLOP", "", "GB", "", "GB, plain"):
            table.add_column(f"{heading}\n(patch {patch})" if heading else "", justify="right")
    found = {(row.tokenizer, row.reading): row for row in rows}
    for each in tokenizers:
        cells = []
        for patch in PATCHES:
            fused, plain = (Reading(LAYERS[0], patch, attention) for attention in ("fused", "plain"))
            row, base = found[each.name, fused], found[tokenizers[0].name, fused]
            cells += [f"{row.tokens:,}", f"{row.flops / 1e9:,.1f}", f"{row.flops / base.flops:.3g}×"]
            cells += [f"{row.memory / 1e9:.2f}", f"{row.memory / base.memory:.3g}×"]
            cells.append(f"{found[each.name, plain].memory / 1e9:.2f}")
        table.add_row(each.name, "×".join(map(str, each.geometry.video)), *cells)
    Console(width=170).print(table)


def as_json(rows: Sequence[Row], tokenizers: Sequence[Tokenizer]) -> dict[str, object]:
    """Geometries with their sources, counts, and what of the claims follows."""
    geometries = [{**asdict(each), "values": each.geometry.values, "rate": each.geometry.rate} for each in tokenizers]
    compared = ratios(rows, tokenizers)
    return {
        "tokenizers": geometries,
        "rows": [asdict(row) for row in rows],
        "claimed": CLAIMED,
        "ratios": [asdict(each) for each in compared],
        "verdicts": [verdict(compared, reading) for reading in readings()],
    }


@script
def main(argv: list[str]) -> None:
    parser = OptionParser(description="FLOPs and memory of the paper's pseudo-DiT on the latents of many tokenizers.")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    parser.add_argument("--plot", type=Path, help="picture to write")
    args = parser.parse_args(argv)
    tokenizers = all_tokenizers()
    total = len(tokenizers) * len(readings())
    rows = list(track(cost_rows(tokenizers, readings()), total, "counting", "rows"))
    print_table(rows, tokenizers)
    content = as_json(rows, tokenizers)
    print("\n".join(content["verdicts"]))
    for path in filter(None, (args.output, args.plot)):
        path.parent.mkdir(parents=True, exist_ok=True)
    if args.output:
        write_json(args.output, content)
    if args.plot:
        draw_figure(rows, tokenizers, args.plot)


if __name__ == "__main__":
    sys.exit(main())
