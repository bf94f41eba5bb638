"""Make a generator whose weights are averaged over another width than those that training kept.

`python -m generator.average runs/NAME/generator --width 0.08 --out runs/NAME/generator/weights/width_0.08`
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from generator.pipeline import load_pipeline, save_pipeline
from runtime.errors import UserError
from runtime.options import OptionParser
from runtime.script import script
from runtime.training.power_average import GREATEST_RESIDUAL, Profile, fit, reachable
from runtime.training.run import RunFolder
from runtime.training.snapshots import combine, snapshots_in


def kept_in(run: RunFolder) -> list[Profile]:
    """Profiles of the run's snapshots. Raises `UserError` where there are none."""
    if kept := snapshots_in(run.averages):
        return kept
    raise UserError(f"{run.averages} holds no snapshots; train with --loop.ema_widths [0.05,0.1], which keeps them")


def up_to(kept: Sequence[Profile], step: int | None) -> list[Profile]:
    """The snapshots of `step`, or of the last, and before. Raises `UserError` where there are none of that step."""
    steps = sorted({each.step for each in kept})
    if step is not None and step not in steps:
        raise UserError(f"there is no snapshot of step {step}; there are some of {', '.join(map(str, steps))}")
    return [each for each in kept if each.step <= (steps[-1] if step is None else step)]


def widths_at(kept: Sequence[Profile], step: int) -> str:
    """Such as `0.024 to 0.245`."""
    return ", ".join(f"{low:g} to {high:g}" for low, high in reachable(up_to(kept, step), step))


def describe(kept: Sequence[Profile]) -> str:
    """Snapshots, and of each step the widths that can be made."""
    tracked = ", ".join(f"{width:g}" for width in sorted({each.width for each in kept}))
    steps = sorted({each.step for each in kept})
    lines = [f"step {step}: widths {widths_at(kept, step)}" for step in steps]
    return "\n".join([f"{len(kept)} snapshots, of widths {tracked}", *lines])


def coefficients_of(kept: Sequence[Profile], wanted: Profile) -> tuple[list[float], float]:
    """What each snapshot counts, and by what the sum misses. Raises `UserError` where that is too much."""
    coefficients, residuals = fit(kept, [wanted])
    if residuals[0] > GREATEST_RESIDUAL:
        raise UserError(
            f"width {wanted.width:g} at step {wanted.step} is out of reach: the nearest sum of snapshots misses its "
            f"profile by {residuals[0]:.0%}; within reach are {widths_at(kept, wanted.step)}"
        )
    return coefficients[:, 0].tolist(), float(residuals[0])


def replace_parameters(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """All of them. Raises `UserError` where the snapshots are another model's."""
    own = {name: parameter.shape for name, parameter in model.named_parameters()}
    if own != {name: weight.shape for name, weight in weights.items()}:
        raise UserError("the snapshots do not fit the generator in weights/ema; they are another model's")
    model.load_state_dict(weights, strict=False)


def write_average(run: RunFolder, width: float, step: int | None, out: Path) -> str:
    """The pipeline of `weights/ema` with that average in its place; returns what was done."""
    if out.exists():
        raise UserError(f"{out} is there already; remove it or give another --out")
    kept = up_to(kept_in(run), step)
    wanted = Profile(kept[-1].step, width)
    coefficients, residual = coefficients_of(kept, wanted)
    pipeline = load_pipeline(run.weights / "ema")
    replace_parameters(pipeline.transformer, combine(run.averages, kept, coefficients))
    out.parent.mkdir(parents=True, exist_ok=True)
    save_pipeline(pipeline, out)
    return (
        f"{out}: width {width:g} at step {wanted.step} of {len(kept)} snapshots, its profile missed by {residual:.2%}"
    )


@script
def main(argv: list[str]) -> None:
    parser = OptionParser(description="Make a generator averaged over another width than those kept in training.")
    parser.add_argument("run", type=Path, help="the folder of a stage-two run that kept averages")
    parser.add_argument("--width", type=float, help="as a part of the training; left out: list what can be made")
    parser.add_argument("--step", type=int, help="a step of which there are snapshots (default: the last)")
    parser.add_argument("--out", type=Path, help="the pipeline's folder, for generator.sample --weights")
    args = parser.parse_args(argv)
    run = RunFolder(args.run)
    if (args.width is None) != (args.out is None):
        raise UserError("give --width and --out together, or neither to list what can be made")
    if args.width is None:
        print(describe(kept_in(run)))
    else:
        print(write_average(run, args.width, args.step, args.out))


if __name__ == "__main__":
    sys.exit(main())
