"""Numbers as exact as their type says."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def full_precision() -> Iterator[None]:
    """Inside a `with`, or a function decorated so, float32 is float32 on a GPU, too.

    There PyTorch rounds what goes into convolutions to TF32's ten bits unless it is told otherwise, which is enough to
    give an SSIM above 1.
    """
    settings = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [each.allow_tf32 for each in settings]
    for each in settings:
        each.allow_tf32 = False
    try:
        yield
    finally:
        for each, allowed in zip(settings, before, strict=True):
            each.allow_tf32 = allowed
