"""Make a generator ready to be given away: its pipeline folder with a model card.

`python -m generator.export runs/demo/generator OUT --licence mit --precision bf16`
"""

import shutil
import sys
from pathlib import Path

from generator.model_card import model_card
from generator.pipeline import load_pipeline
from runtime.errors import UserError
from runtime.options import OptionParser
from runtime.precision import DTYPES, Computed
from runtime.script import script


def export(run: Path, out: Path, licence: str | None, precision: Computed) -> None:
    """Write `out`, whole or not at all: the run's averaged weights as a pipeline, in a precision, and `README.md`.

    Raises:
        UserError: a run that has not ended, or something that stands in the place.
    """
    weights = run / "weights" / "ema"
    if not (run / "training.json").is_file() or not (weights / "model_index.json").is_file():
        raise UserError(f"{run} holds no finished run of stage two; train it to its end first")
    if out.exists():
        raise UserError(f"{out} is there already; remove it or choose another place")
    # All weights are cast but the statistics that latents are normalised with, which a DiT keeps in float32.
    pipeline = load_pipeline(weights).to(DTYPES[precision])
    card = model_card(run, pipeline, licence, out.name)
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    pipeline.save_pretrained(partial)
    (partial / "README.md").write_text(card)
    partial.rename(out)


@script
def main(argv: list[str]) -> None:
    parser = OptionParser(description="Write a finished generator as a pipeline folder with a model card.")
    parser.add_argument("run", type=Path, metavar="RUN", help="a run of stage two, such as runs/demo/generator")
    parser.add_argument("out", type=Path, metavar="OUT", help="the folder to make")
    parser.add_argument("--licence", help="of the weights, as their training data allows, such as cc-by-4.0")
    parser.add_argument("--precision", choices=DTYPES, default="fp32", help="of the weights; bf16 takes half the bytes")
    args = parser.parse_args(argv)
    args.out.resolve().parent.mkdir(parents=True, exist_ok=True)
    export(args.run, args.out.resolve(), args.licence, args.precision)
    print(f"{args.out}: a pipeline folder; read {args.out / 'README.md'} before you publish it")


if __name__ == "__main__":
    sys.exit(main())
