"""Videos of any length through a model of one length: window by window, in constant memory."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor


def windows(frames: Iterable[Tensor], length: int) -> Iterator[tuple[Tensor, slice]]:
    """Cut a stream of frames into windows of `length`, each with the slice of its frames that are new.

    The last window is aligned to the end and overlaps the one before. A video shorter than a window repeats its
    last frame; the slice leaves the repeats out.
    """
    window: list[Tensor] = []
    seen = 0
    for frame in frames:
        window = [*window[1:], frame] if len(window) == length else [*window, frame]
        seen += 1
        if seen % length == 0:
            yield torch.stack(window), slice(0, length)
    if 0 < seen < length:
        yield torch.stack(window + window[-1:] * (length - seen)), slice(0, seen)
    elif seen % length:
        yield torch.stack(window), slice(length - seen % length, length)
