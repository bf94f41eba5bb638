"""What VidTwin claims of its Figure 5, held against the counts: 4 to 8 times the FLOPs and 2 to 3 times the memory."""

from collections.abc import Sequence
from dataclasses import dataclass

from eval.costs.pseudo_dit import Reading, Row
from eval.costs.tokenizers import Tokenizer

CLAIMED = {"flops": (4.0, 8.0), "memory": (2.0, 3.0)}


@dataclass(frozen=True)
class Ratio:
    """What a step on a peer's latents takes, as a multiple of one on VidTwin's, and whether that is what is claimed.

    To the nearest whole number, as claims of this kind are made.
    """

    tokenizer: str
    reading: Reading
    flops: float
    memory: float
    flops_as_claimed: bool
    memory_as_claimed: bool


def ratios(rows: Sequence[Row], tokenizers: Sequence[Tokenizer]) -> list[Ratio]:
    """Of the peers of the paper's Table 1, to VidTwin's first setting in the same reading."""
    base = {row.reading: row for row in rows if row.tokenizer == tokenizers[0].name}
    peers = {each.name for each in tokenizers if each.kind == "table 1"}
    return [ratio(row, base[row.reading]) for row in rows if row.tokenizer in peers]


def ratio(row: Row, base: Row) -> Ratio:
    times = {name: getattr(row, name) / getattr(base, name) for name in CLAIMED}
    holds = {f"{name}_as_claimed": low <= round(times[name]) <= high for name, (low, high) in CLAIMED.items()}
    return Ratio(row.tokenizer, row.reading, **times, **holds)


def verdict(found: Sequence[Ratio], reading: Reading) -> str:
    """One line: of which peers both claims hold in a reading, and of which only one or none."""
    here = [each for each in found if each.reading == reading]
    both = [each.tokenizer for each in here if each.flops_as_claimed and each.memory_as_claimed]
    flops = [each.tokenizer for each in here if each.flops_as_claimed and not each.memory_as_claimed]
    memory = [each.tokenizer for each in here if each.memory_as_claimed and not each.flops_as_claimed]
    parts = {"both claims hold for": both, "of FLOPs alone for": flops, "of memory alone for": memory}
    said = "; ".join(f"{what} {', '.join(names)}" for what, names in parts.items() if names)
    patch = "patches of 2" if reading.patch == 2 else "every position a token"
    return f"{reading.layers} layers, {patch}, {reading.attention} attention: {said or 'no claim holds for any peer'}"
