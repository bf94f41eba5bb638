"""Film what trained models do, for the documents: strips in a folder, a page that shows them, and the README's strip.

`python -m eval.gallery --data datasets/showcase --out docs/gallery` writes `docs/gallery/*.webp`, `docs/gallery.md`
and `docs/strip.webp`, of the showcase unless `--weights` names others. The same arguments give the same pictures.
"""

import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from autoencoder.model import VidTwin
from data.config import DataConfig
from eval.gallery.clips import test_clips
from eval.gallery.page import SECTIONS, page
from eval.gallery.samples import beside_nearest, drawn_anew, of_classes, one_of_each, sampled, with_samples
from eval.gallery.strip import COLUMNS, Strip, write_strip
from eval.gallery.twins import swapped, taken_apart
from generator.draw import open_models
from generator.pipeline import VidTwinPipeline
from runtime import distributed
from runtime.files import write_text
from runtime.models import add_weights_option
from runtime.options import OptionParser
from runtime.precision import full_precision
from runtime.script import script

LIMIT, OF_A_VIDEO = 500_000, 13_800  # bytes of a strip, and of each video in it: together below 2.5 MB
LIMIT_OF_README = 1_500_000
README = "strip"
CLIPS = 6


def strips(
    args: Namespace, model: VidTwin, pipeline: VidTwinPipeline | None, fps: float
) -> Iterator[tuple[str, Strip]]:
    """Each with its name, a key of `page.SECTIONS`, or `README`."""
    clips = test_clips(model, [args.data], fps, CLIPS)
    apart = taken_apart(model, clips)
    yield "apart", apart
    if args.films:
        yield "films", taken_apart(model, test_clips(model, args.films, fps, CLIPS))
    yield "swaps", swapped(model, clips)
    if pipeline is None:
        yield README, apart
        return
    yield "samples", of_classes(pipeline)
    if pipeline.transformer.config.times == "separate":
        yield "dynamics_drawn", drawn_anew(pipeline, clips, "structure")
        yield "structure_drawn", drawn_anew(pipeline, clips, "dynamics")
    else:
        print("no latent is drawn for a given other: this generator has one time for both (--diffusion.times separate)")
    labels = one_of_each(pipeline, 2 * COLUMNS)
    samples = sampled(pipeline, labels)
    yield "nearest", beside_nearest(pipeline, labels, samples, args.data)
    yield README, with_samples(apart, pipeline, labels, samples)


@full_precision()
def make(args: Namespace) -> None:
    model, pipeline = open_models(args.weights, distributed.device())
    if pipeline is None:
        print(f"{args.weights} holds no generator: what it would draw is left out")
    fps = pipeline.config.fps if pipeline else DataConfig.fps
    args.out.mkdir(parents=True, exist_ok=True)
    written = []
    for name, strip in strips(args, model, pipeline, fps):
        own = args.out, min(LIMIT, OF_A_VIDEO * len(strip.videos))
        place, limit = (args.out.parent, LIMIT_OF_README) if name == README else own
        written.append(place / f"{name}.webp")
        quality = write_strip(written[-1], strip, fps, limit)
        print(f"{written[-1]}: {written[-1].stat().st_size / 1e3:.0f} kB, quality {quality} of 100", flush=True)
    shown = [file.stem for file in written if file.parent == args.out]
    for name in SECTIONS.keys() - shown:
        (args.out / f"{name}.webp").unlink(missing_ok=True)  # of other weights
    text = args.out.with_suffix(".md")
    write_text(text, page(args.out, args.weights, shown, bool(args.films)))
    size = sum(file.stat().st_size for file in written) / 1e6
    print(f"{text} shows {len(shown)} strips, {size:.1f} MB with {README}.webp")


@script
def main(argv: list[str]) -> None:
    parser = OptionParser(prog="eval.gallery", description="Film what trained models do, for the documents.")
    add_weights_option(parser)
    parser.add_argument(
        "--data", type=Path, required=True, help="the data set of the training, such as datasets/showcase"
    )
    parser.add_argument(
        "--films", type=Path, nargs="+", metavar="DIR", help="folders of real films, whose test clips are shown"
    )
    parser.add_argument("--out", type=Path, default=Path("docs/gallery"), help="of the strips (default: docs/gallery)")
    make(parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
