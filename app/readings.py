"""What linear probes read off a clip's latents, as a table in HTML: words, numbers, colours and paths."""

from html import escape

from torch import Tensor

from data.synthetic.factors import Factors
from data.synthetic.patterns import SHAPES
from eval.twins.factors import QUANTITIES
from eval.twins.reader import Reader

LATENTS = ("structure", "dynamics")
COLOURS = ("sprite colour (RGB)", "background colour (RGB)")
PATH = "position in each frame"
SHOWN = {
    "motion": "motion",
    "shape": "shape of the object",
    COLOURS[0]: "colour of the object",
    COLOURS[1]: "colour of the background",
    "speed": "speed, half-frames a frame",
    PATH: "way of the object",
}


def table(reader: Reader, read: dict[str, dict[str, Tensor]], truth: dict[str, str]) -> str:
    """Rows of `SHOWN`: what is true, where it is known, and what is read off each latent.

    Args:
        read: what the reader found, by latent and factor.
        truth: cells by factor, as `true_cells` gives them; empty for a video that nobody knows.
    """
    head = "<tr><th></th><th>in the clip</th><th>read off structure</th><th>read off dynamics</th></tr>"
    rows = []
    for factor, name in SHOWN.items():
        cells = [truth.get(factor, "not known")]
        for latent in LATENTS:
            quality = reader.quality[latent][factor]
            said = f"right in {quality:.0%}" if factor in ("motion", "shape") else f"R² {quality:.2f}"
            cells.append(f"{cell(reader, factor, read[latent][factor])}<small>{said.replace('-', '−')}</small>")
        rows.append(f"<tr><th>{name}</th>{''.join(f'<td>{each}</td>' for each in cells)}</tr>")
    return f'<div class="box"><table class="readings"><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table></div>'


def true_cells(clip: Factors, frames: list[int]) -> dict[str, str]:
    """Cells of the truth about these frames of a video that is made of `clip`."""
    numbers = {quantity.name: quantity.value(clip, frames, 1) for quantity in QUANTITIES}
    words = {"motion": escape(clip.motion), "shape": escape(clip.shape)}
    return words | {factor: number_cell(factor, list(values)) for factor, values in numbers.items()}


def cell(reader: Reader, factor: str, found: Tensor) -> str:
    if factor == "motion":
        return escape(reader.classes[int(found.argmax())])
    if factor == "shape":
        return escape(SHAPES[int(found.argmax())].__name__)
    return number_cell(factor, found.tolist())


def number_cell(factor: str, values: list[float]) -> str:
    """A swatch of a colour, the drawing of a path, or a number."""
    if factor in COLOURS:
        red, green, blue = (round(min(max(value, 0), 255)) for value in values)
        return f'<i class="swatch" style="background: rgb({red}, {green}, {blue})"></i>'
    if factor == PATH:
        half = len(values) // 2
        return drawn_path(values[:half], values[half:])
    return f"{values[0]:.3f}".replace("-", "−")


def drawn_path(x: list[float], y: list[float]) -> str:
    """The object's way through the picture, which is four half-frames by three; a dot is where it ends."""
    points = " ".join(f"{across:.3f},{down:.3f}" for across, down in zip(x, y, strict=True))
    return (
        '<svg class="path" viewBox="-1.33 -1 2.66 2" role="img" aria-label="a path"><polyline points="'
        f'{points}"/><circle cx="{x[-1]:.3f}" cy="{y[-1]:.3f}" r="0.09"/></svg>'
    )
