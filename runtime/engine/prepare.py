"""What a configuration does to a module before its engine takes it."""

import torch
from torch import nn


def checkpoint_activations(module: nn.Module) -> None:
    """Turn diffusers' switch on each model in `module` that has it."""
    for part in module.modules():
        if getattr(part, "_supports_gradient_checkpointing", False):
            part.enable_gradient_checkpointing()


def cast_buffers(module: nn.Module, dtype: torch.dtype) -> None:
    """DeepSpeed casts parameters only. Each buffer is replaced: many are views, whose data cannot change their type.

    A model names in `float32_buffers` those that it must have in full.
    """
    for part in module.modules():
        exact = getattr(part, "float32_buffers", ())
        for name, buffer in list(part.named_buffers(recurse=False)):
            if buffer.is_floating_point() and name not in exact:
                setattr(part, name, buffer.to(dtype).contiguous())
