"""What of a model is compiled: the blocks that it repeats."""

import torch
from torch import nn


def compiled_parts(module: nn.Module) -> list[nn.Module]:
    """Blocks that diffusers' models in `module` name as repeated; the module itself where there are none."""
    named = [(part, getattr(part, "_repeated_blocks", None) or ()) for part in module.modules()]
    blocks = [block for model, names in named for block in model.modules() if type(block).__name__ in names]
    return blocks or [module]


def compile_blocks(module: nn.Module) -> None:
    """Compile what is repeated: one compilation serves all blocks, and each hands its gradients over when done.

    Hooks around a block, such as those of ZeRO 3, stay outside of its graph.
    """
    for part in compiled_parts(module):
        part.forward = torch.compile(part.forward)
