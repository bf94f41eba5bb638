"""The interface of whatever videos are drawn from."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from torch import Tensor


class Clip(Protocol):
    """A clip that is not read yet; its methods may be called in another thread.

    Attributes:
        name: of the video, as messages call it.
    """

    name: str

    def key(self) -> str:
        """A hash of all that its pixels come from. Raises `BadVideo`."""
        ...

    def frames(self) -> Tensor:
        """uint8 `t h w c`. Raises `BadVideo`."""
        ...


class Source(Protocol):
    """Videos to draw from.

    Attributes:
        total: how many there are.
        size: their height and width, None where each has its own.
        resizes: whether clips can be cut to another size.
        rates: the lowest and the highest of their clips, in frames a second; None where they are not known.
        reference: which published set this is, such as "UCF-101 trainlist01"; empty for any other.
        left_out: names and faults of files that cannot be read or are too short.
    """

    total: int
    size: tuple[int, int] | None
    resizes: bool
    rates: tuple[float, float] | None
    reference: str
    left_out: dict[str, str]

    def clips(self, indices: Sequence[int], size: tuple[int, int]) -> Iterator[Clip]:
        """One of each of these videos, in ascending order of the indices."""
        ...
