"""The interface of whatever gives clips back: our autoencoder, others', video codecs."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class Coded:
    """What came back of a batch of clips, and what it took.

    Attributes:
        video: `b c t h w` in [-1, 1], of the shape that went in.
        values: numbers that the latent of one clip has; None for a codec, which writes bits.
        bits: that a codec wrote for each clip, `b`; None for a latent, whose bits depend on how its numbers are kept.
        overhead: bits beside those, of container and headers, `b`; None as `bits`.
    """

    video: Tensor
    values: int | None = None
    bits: Tensor | None = None
    overhead: Tensor | None = None


class Coder(Protocol):
    """Clips of one or any size to what comes back of them.

    Attributes:
        name: as tables call it.
    """

    name: str

    def __call__(self, video: Tensor) -> Coded:
        """Give back clips `b c t h w` in [-1, 1]."""
        ...
