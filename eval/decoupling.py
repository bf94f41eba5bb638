"""Whether structure carries appearance and dynamics carries motion: swaps between test clips, and linear probes.

`python eval/decoupling.py --run runs/demo --data datasets/builtin` writes `decoupling.json`, `.md` and `.png`, and
`swaps.mp4` and `.png` to look at, to `runs/demo/evaluation/`. Of the built-in set all factors are known; of any other
one with classes, the class is judged, and the energy of the optical flow stands in for motion. The one number that sums
it up is defined and argued for in `eval.twins.following`.
"""

import sys
from argparse import Namespace
from pathlib import Path

import torch
from torch import Tensor

from autoencoder.model import VidTwin
from data.clips import ClipDataset
from data.synthetic.factors import Factors, read_factors
from eval.classifier import TrainingConfig
from eval.report import all_videos, open_autoencoder, open_clips
from eval.twins.factors import Factor, factors_of
from eval.twins.flow import correlation, flow_energy
from eval.twins.following import Judged, Pairs, draw_pairs, follow, pair_weights, summarise, with_interval
from eval.twins.judges import Judge, train_judge
from eval.twins.pictures import draw_following, draw_swaps
from eval.twins.probes import open_caches, probe, read_clips
from eval.twins.swaps import Twins, VidTwins
from eval.twins.table import headline, tables, write_markdown
from runtime.errors import UserError
from runtime.files import write_json
from runtime.options import OptionParser
from runtime.precision import full_precision
from runtime.script import script
from runtime.weights import weights_hash

FEWEST_CLIPS = 10  # of which shares and intervals say something


def measure_swaps(
    twins: Twins, clips: Tensor, labels: dict[str, Tensor], judges: dict[Factor, Judge], pairs: Pairs
) -> dict:
    """What follows whom.

    Args:
        twins: makes videos of the latents of test clips.
        clips: these, uint8 `n c t h w`.
        labels: what they are, `n` for each factor's name.
        judges: of the factors.
    """
    every = torch.arange(len(clips))
    videos = {"real": clips, "reconstructed": twins(every, every), "swapped": twins(*pairs)}
    figures, scores = {}, {}
    for factor, judge in judges.items():
        seen = {name: judge(each) for name, each in videos.items()}
        figures[factor.name], score = follow(Judged(factor, labels[factor.name], **seen), pairs)
        if score is not None:
            scores[factor.name] = (factor.latent, score)
    return {
        "clips": len(clips),
        "swaps": len(pairs.structure),
        "score": summarise(scores),
        "factors": figures,
        "flow": measure_flow(videos, pairs),
    }


def measure_flow(videos: dict[str, Tensor], pairs: Pairs) -> dict:
    """Correlation of the swaps' energy of flow with that of each donor, and of reconstructions' with their own."""
    energy = {name: flow_energy(each) for name, each in videos.items()}
    weights = pair_weights(pairs, len(energy["real"]))
    own = correlation(energy["reconstructed"][pairs.dynamics], energy["real"][pairs.dynamics], weights)
    donors = {
        name: correlation(energy["swapped"], energy["real"][places], weights)
        for name, places in pairs._asdict().items()
    }
    return {name: with_interval(each) for name, each in {**donors, "reconstruction": own}.items()}


def measure_probes(run: Path, model: VidTwin, splits: dict[str, ClipDataset], known: dict[str, Factors] | None) -> dict:
    """Of the run's cached latents; nothing, and a line that says so, where there are none of this data set."""
    try:
        caches = open_caches(run, {split: clips.index for split, clips in splits.items()})
    except UserError as error:
        print(f"linear probes are left out: {error}", file=sys.stderr)
        return {}
    for cache in caches.values():
        cache.require_autoencoder(weights_hash(model))
    train, test = (read_clips(caches[split], clips, known) for split, clips in splits.items())
    return probe(train, test, factors_of(known))


@full_precision()
def measure(args: Namespace, out: Path) -> dict:
    model, known = open_autoencoder(args.run), read_factors(args.data)
    splits = {split: open_clips(model, args.data, split, out) for split in ("train", "test")}
    train, test = splits.values()
    if len(test) < FEWEST_CLIPS:
        raise UserError(f"{args.data} has {len(test)} test videos; at least {FEWEST_CLIPS} are needed to swap between")
    judges = {each: train_judge(each, train, test, out, args.classifier_steps) for each in factors_of(known)}
    clips, labels = all_videos(test), {factor.name: factor.labels(test) for factor in judges}
    twins = VidTwins(model, clips)
    figures = measure_swaps(twins, clips, labels, judges, draw_pairs(len(clips), args.partners))
    classes = torch.tensor(test.index.labels)
    draw_swaps(clips, classes, test.index.classes, twins, test.fps, out)
    return {**figures, "probes": measure_probes(args.run, model, splits, known)}


@script
def main(argv: list[str]) -> None:
    parser = OptionParser(description="Which factors of a video structure and dynamics carry.")
    parser.add_argument("--run", type=Path, required=True, help="a run of stage one, such as runs/demo")
    parser.add_argument("--data", type=Path, required=True, help="a data set with classes, such as datasets/builtin")
    parser.add_argument("--partners", type=int, default=3, help="swaps that each test clip gives its structure to")
    parser.add_argument("--classifier_steps", type=int, default=TrainingConfig().steps)
    parser.add_argument("--out", type=Path, help="default: the run's evaluation/")
    args = parser.parse_args(argv)
    if args.partners < 1:
        raise UserError("--partners must be at least 1")
    out = args.out or args.run / "evaluation"
    out.mkdir(parents=True, exist_ok=True)
    figures = measure(args, out)
    write_json(out / "decoupling.json", figures)
    write_markdown(out / "decoupling.md", figures)
    draw_following(figures, out / "decoupling.png")
    for table in tables(figures):
        table.print()
    print(headline(figures))


if __name__ == "__main__":
    sys.exit(main())
