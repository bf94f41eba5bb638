"""The page that shows the strips that were written, with what is to be seen in each."""

import os
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

from runtime.models import is_showcase

COMMAND = ".venv/bin/python -m eval.gallery --data datasets/showcase --films /data/films"
INTRODUCTION = (
    "What the models in {weights} do. Clips that are taken apart or swapped are test clips: training saw none of their "
    "scenes. Samples are the first of seed 0, none is chosen."
)
HOW = """One command makes all of it, this page too:

```bash
{command}
```"""
WIDTH = 120

SECTIONS = {
    "apart": (
        "Taken apart",
        "Each column is a test clip of the built-in set: the original, what both latents decode to, structure alone, "
        "dynamics alone. Structure should hold the scene, dynamics what happens in it.",
    ),
    "films": (
        "Taken apart: real films",
        "The same for scenes of real films that were kept out of training.",
    ),
    "swaps": (
        "Swaps",
        "Every row has the structure of the clip at its left, every column the dynamics of the clip at its head. Where "
        "the twins are apart, a row keeps its scene and a column its motion; the diagonal is plain reconstruction.",
    ),
    "samples": (
        "Generated",
        "Videos that the generator draws from noise, with the class that was asked for above each.",
    ),
    "dynamics_drawn": (
        "Structure kept, dynamics drawn",
        "The first of each row is a test clip. The others have its structure, and dynamics that were drawn for it, of "
        "the class above each: one scene, several motions.",
    ),
    "structure_drawn": (
        "Dynamics kept, structure drawn",
        "The reverse: the motion of the first of each row, with structures that were drawn for it.",
    ),
    "nearest": (
        "Beside training clips",
        "Rows of samples, and under each the clip that is nearest to it in its pixels, of all windows of all training "
        "videos and their mirror images: a sample that was copied would look like it.",
    ),
}


def page(out: Path, weights: Path, names: Sequence[str], films: bool) -> str:
    """Of strips `<name>.webp` in `out`, in the order above, as Markdown for `out`'s own folder.

    Args:
        weights: whose card is linked, where they have one; how it was made is said of the showcase's.
        names: of the strips that there are, keys of `SECTIONS`.
        films: whether the command that made them named films.
    """
    card = weights / "README.md"
    name = "/".join(weights.resolve().parts[-2:])
    link = f"[{name}]({os.path.relpath(card, out.parent)})" if card.is_file() else f"`{name}`"
    parts = ["# Gallery", fill(INTRODUCTION.format(weights=link), WIDTH)]
    if is_showcase(weights):
        parts.append(HOW.format(command=COMMAND if films else COMMAND.partition(" --films")[0]))
    for name, (heading, text) in SECTIONS.items():
        if name in names:
            parts += [f"## {heading}", fill(text, WIDTH), f"![{heading}]({out.name}/{name}.webp)"]
    return "\n\n".join(parts) + "\n"
