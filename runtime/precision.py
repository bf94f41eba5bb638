"""How exact numbers are: as their type says, or in the precision that a trained model is used in."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

Use = Literal["auto", "fp32", "bf16"]
USES: tuple[Use, ...] = ("auto", "fp32", "bf16")
Computed = Literal["fp32", "bf16"]
DTYPES: dict[Computed, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}


def precision_of_use(asked: Use, device: torch.device) -> Computed:
    """What a trained model computes in; `auto`: bf16 on a GPU that has it, several times as fast, float32 elsewhere."""
    if asked != "auto":
        return asked
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"


def computing_in(dtype: torch.dtype, device: torch.device) -> torch.autocast:
    """Around models with float32 weights: products are computed in `dtype`, sums and norms stay float32."""
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


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
