"""What each ingredient of the generator gives, on the built-in data set: variants at equal steps, with several seeds.

`python -m eval.ablation --run runs/demo --data datasets/builtin --out runs/ablation` writes `ablation.md`,
`ablation.json` and `ablation.png`, anew after each cell. Stopped at any time, the same command goes on where it was.
"""

import sys
from argparse import Namespace
from pathlib import Path

from data.latents import LatentCache
from eval.ablations.cell import fill, make_cells
from eval.ablations.table import rows_of, write_results
from eval.ablations.variants import read_variants
from eval.classifier import TrainingConfig
from eval.generation.sweep import Judge, numbers
from runtime import distributed
from runtime.errors import UserError
from runtime.lock import lock
from runtime.options import OptionParser
from runtime.progress import Progress
from runtime.script import script

LIST = Path(__file__).parents[1] / "configs/ablation/generator.yaml"


def ablate(args: Namespace, seeds: list[int]) -> int:
    """Fill the cells that are not filled; how many there are in all."""
    variants = read_variants(args.list)
    cells = make_cells(variants, seeds, args.run, args.num, args.classifier_steps, args.out)
    missing = [cell for cell in cells if cell.figures is None]
    if missing:
        held_out, judge = LatentCache(args.run / "latents/test"), Judge(args.run, args.data, args.classifier_steps)
    progress = Progress("ablation", len(cells), "cells", len(cells) - len(missing))
    for cell in missing:
        print(f"[{progress.done + 1}/{len(cells)}] {cell.variant.name}, seed {cell.config.loop.seed}", flush=True)
        fill(cell, judge, held_out)
        write_results(rows_of(cells), args.num, args.out)
        progress.advance()
    write_results(rows_of(cells), args.num, args.out)
    return len(cells)


@script
def main(argv: list[str]) -> None:
    parser = OptionParser(description="Train and measure variants of the generator.")
    parser.add_argument("--list", type=Path, default=LIST, help="the variants")
    parser.add_argument("--run", type=Path, default=Path("runs/demo"), help="gives autoencoder and latents")
    parser.add_argument("--data", type=Path, default=Path("datasets/builtin"), help="its data set, which has classes")
    parser.add_argument("--seeds", default="0,1", help="comma-separated")
    parser.add_argument("--num", type=int, default=200, help="videos that are sampled of each cell")
    parser.add_argument("--classifier_steps", type=int, default=TrainingConfig().steps)
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    args = parser.parse_args(argv)
    if args.num < 2:
        raise UserError("--num must be at least 2: a distance of distributions needs some samples")
    args.out.mkdir(parents=True, exist_ok=True)
    with distributed.processes(), lock(args.out / ".lock"):
        count = ablate(args, numbers(args.seeds, int))
    print(f"{args.out / 'ablation.md'}, ablation.json, ablation.png: {count} cells")


if __name__ == "__main__":
    sys.exit(main())
