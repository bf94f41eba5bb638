"""What of a model is compiled: the blocks that it repeats."""

from collections.abc import Iterable

import torch
from torch import nn


def compiled_parts(module: nn.Module, zero_stage: int) -> list[nn.Module]:
    """Blocks that diffusers' models in `module` name as repeated: one compilation serves them all.

    Where there are none it is the module itself, or nothing at ZeRO 3, whose hooks inside of it would break its graph.
    """
    named = [(part, getattr(part, "_repeated_blocks", None) or ()) for part in module.modules()]
    blocks = [block for model, names in named for block in model.modules() if type(block).__name__ in names]
    return blocks or ([] if zero_stage == 3 else [module])


def compile_parts(parts: Iterable[nn.Module]) -> None:
    """Compile each alone, so that it hands its gradients over when done; hooks around it stay outside of its graph."""
    for part in parts:
        part.forward = torch.compile(part.forward)
