"""What models cost: parameters, FLOPs and peak training memory of autoencoders and generators, size of their latents.

`python eval/cost.py configs/stage1/base.yaml configs/stage2/paper.yaml --output cost.json --plot cost.png`

Nothing is trained or even allocated: FLOPs are counted on meta tensors, memory is traced on fake ones (on a GPU, where
there is one, it is measured). A multiply-add counts as two FLOPs.
"""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import yaml

from autoencoder.model import VidTwin
from autoencoder.stage1.config import Stage1Config
from data.latents import LatentCache
from eval.measures.model_cost import Cost, autoencoder_cost, generator_cost
from generator.config import DiTConfig
from generator.stage2 import Stage2Config
from runtime.config import load
from runtime.errors import UserError
from runtime.files import write_json
from runtime.options import OptionParser
from runtime.script import script
from runtime.weights import load_model

UCF101_CLASSES = 101

# The quantities of the table: a field of `Cost`, its name, and how its value reads.
QUANTITIES = (
    ("parameters", "parameters", lambda n: scaled(n)),
    ("latent_values", "latent values", lambda n: f"{n:,}"),
    ("rate", "compression rate", lambda share: f"{share:.4%}"),
    ("tokens", "tokens", lambda n: f"{n:,}"),
    ("encode_flops", "encode FLOPs", lambda n: scaled(n)),
    ("decode_flops", "decode FLOPs", lambda n: scaled(n)),
    ("training_flops", "training step FLOPs", lambda n: scaled(n)),
    ("sample_flops", "sample FLOPs", lambda n: scaled(n)),
    ("training_memory", "training memory", lambda n: f"{scaled(n)}B"),
)
PLOTTED = ("parameters", "tokens", "training_flops", "training_memory")


def scaled(number: float) -> str:
    """`1.234e12` to `1.23 T`."""
    prefixes = iter("KMGTP")
    prefix = ""
    while number >= 1000:
        number, prefix = number / 1000, next(prefixes)
    return f"{number:.3g} {prefix}"


def print_table(rows: Sequence[Cost]) -> None:
    """One column for each model: there are more quantities than models."""
    from rich.console import Console
    from rich.table import Table

    table = Table("")
    for row in rows:
        table.add_column(row.name, justify="right", overflow="fold")
    for name, heading, form in QUANTITIES:
        values = [getattr(row, name) for row in rows]
        table.add_row(heading, *("" if value is None else form(value) for value in values))
    Console().print(table)


def draw_bars(rows: Sequence[Cost], path: Path) -> None:
    """A picture with one panel for each quantity and one bar for each model."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = [quantity for quantity in QUANTITIES if quantity[0] in PLOTTED]
    figure, axes = pyplot.subplots(1, len(panels), figsize=(4 * len(panels), 1 + 0.5 * len(rows)), sharey=True)
    for axis, (name, heading, form) in zip(axes, panels, strict=True):
        bars = axis.barh([row.name for row in rows], [getattr(row, name) for row in rows], color="tab:blue")
        axis.bar_label(bars, [form(getattr(row, name)) for row in rows], padding=3)
        axis.set_title(heading)
        axis.margins(x=0.35)
        axis.set_xticks([])
        axis.spines[["top", "right", "bottom"]].set_visible(False)
    axes[0].invert_yaxis()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def costs_of(paths: Sequence[Path], autoencoder: Path | None, classes: int, batch: int) -> list[Cost]:
    """A row for each configuration, in their order.

    A generator is measured on the latents of `autoencoder`, else of the first stage-one configuration among `paths`,
    else of the cache that its own configuration names.

    Raises:
        UserError: a file that is no configuration, or a generator without latents.
    """
    stages = {path: stage_of(path) for path in paths}
    encoder = autoencoder or next((path for path, stage in stages.items() if stage == 1), None)
    rows = []
    for path, stage in stages.items():
        name = f"{path.parent.name}/{path.stem}"
        if stage == 1:
            rows.append(autoencoder_cost(load(Stage1Config, path).model, batch, name))
        else:
            config = load(Stage2Config, path)
            rows.append(generator_cost(*on_latents(config, encoder, classes), config.diffusion, batch, name))
    return rows


def stage_of(path: Path) -> int:
    """1 for an autoencoder's configuration, 2 for a generator's: that has a section `diffusion`."""
    if not path.is_file():
        raise UserError(f"there is no configuration {path}; the ones that come with the project are in configs/")
    try:
        content = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML: {error}") from error
    if not isinstance(content, dict) or "model" not in content:
        raise UserError(f"{path} has no section model; give configurations of stage one or stage two")
    return 2 if "diffusion" in content else 1


def on_latents(config: Stage2Config, encoder: Path | None, classes: int) -> tuple[DiTConfig, tuple[int, int, int]]:
    """The generator's configuration on an autoencoder's latents, and the clips these stand for."""
    if encoder is not None:
        model = load(Stage1Config, encoder).model
        shapes = {"structure_shape": model.structure_shape, "dynamics_shape": model.dynamics_shape}
    elif Path(config.cache).is_dir():
        cache = LatentCache(config.cache)
        model = load_model(VidTwin, config.autoencoder).typed_config
        shapes = {"structure_shape": cache.structure_shape, "dynamics_shape": cache.dynamics_shape}
        classes = len(cache.classes)
    else:
        raise UserError("a generator's cost depends on its latents: add --autoencoder configs/stage1/base.yaml")
    return DiTConfig.of(config.model, config.diffusion, **shapes, num_classes=classes), model.video_shape


@script
def main(argv: list[str]) -> None:
    parser = OptionParser(description="Parameters, FLOPs and memory of the models that configurations name.")
    parser.add_argument("configs", nargs="+", type=Path, metavar="CONFIG", help="YAML files of stage one or stage two")
    parser.add_argument("--autoencoder", type=Path, help="stage-one YAML whose latents the generators are measured on")
    parser.add_argument("--classes", type=int, default=UCF101_CLASSES, help="of a generator without a cache")
    parser.add_argument("--batch_size", type=int, default=1, help="clips in everything that is counted")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    parser.add_argument("--plot", type=Path, help="picture to write")
    args = parser.parse_args(argv)
    if args.batch_size < 1 or args.classes < 1:
        raise UserError("--batch_size and --classes must be positive")
    rows = costs_of(args.configs, args.autoencoder, args.classes, args.batch_size)
    print_table(rows)
    for path in filter(None, (args.output, args.plot)):
        path.parent.mkdir(parents=True, exist_ok=True)
    if args.output:
        write_json(args.output, [asdict(row) for row in rows])
    if args.plot:
        draw_bars(rows, args.plot)


if __name__ == "__main__":
    sys.exit(main())
