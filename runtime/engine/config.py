"""How a step is computed, as a configuration says it: reading one needs nothing of DeepSpeed."""

from dataclasses import dataclass
from typing import Literal

import torch

from runtime.errors import UserError
from runtime.precision import DTYPES


@dataclass(frozen=True)
class EngineConfig:
    """How a step is computed.

    Attributes:
        zero_stage: what DeepSpeed ZeRO divides among the processes: 1 optimizer states, 2 and gradients, 3 and weights.
        precision: of weights and activations; `bf16` keeps float32 master weights and needs a ZeRO stage of 1 or more.
        accumulation: micro-batches a step; `auto`: as few as fit into a GPU's memory, 1 on a CPU. Each has its own
            batch norm in the discriminator, so statistics there are of one process's micro-batch, not of the batch.
        checkpoint_activations: keep each block's input only and compute the block again in the backward pass: a third
            more time for a fraction of the memory.
        offload: optimizer states live in CPU memory.
        compile: `torch.compile` the model's blocks (`auto`: on CUDA); stage 3 then gathers weights block by block.
    """

    zero_stage: Literal[0, 1, 2, 3] = 1
    precision: Literal["fp32", "bf16"] = "bf16"
    accumulation: int | Literal["auto"] = "auto"
    checkpoint_activations: bool = False
    offload: bool = False
    compile: Literal["auto", "on", "off"] = "auto"

    def __post_init__(self) -> None:
        if self.precision == "bf16" and self.zero_stage == 0:
            raise UserError("bf16 needs --engine.zero_stage 1 or more: stage 0 keeps no float32 master weights")

    @property
    def dtype(self) -> torch.dtype:
        return DTYPES[self.precision]

    def compiles(self, device: torch.device) -> bool:
        return self.compile == "on" or (self.compile == "auto" and device.type == "cuda")
