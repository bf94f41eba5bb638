"""The interface of whatever gives clips back: our autoencoder, others', video codecs."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class Coded:
    """What came back of a batch of clips, and what it took.

    Attributes:
        video: `b c t h w` in [-1, 1], of the shape that went in.
        values: numbers that the latent of one clip has, those for padding included; None for a codec.
        bits: of each clip, `b`: a codec's payload, or a rounded latent's numbers; None for a latent of float32 numbers,
            which nobody would send as they are.
        overhead: bits beside those, `b`: headers of a codec, ranges of a rounded latent; None where `bits` is.
        reached: whether `bits` is at most the number that was wished for, `b`; None where none was.
    """

    video: Tensor
    values: int | None = None
    bits: Tensor | None = None
    overhead: Tensor | None = None
    reached: Tensor | None = None


class Coder(Protocol):
    """Clips of one or any size to what comes back of them.

    Attributes:
        name: as tables call it.
        identity: tells it from every other beyond doubt: settings, configuration, a hash of weights.
    """

    name: str
    identity: str

    def __call__(self, video: Tensor) -> Coded:
        """Give back clips `b c t h w` in [-1, 1]. Raises `UserError` for clips of a size that it cannot take."""
        ...
