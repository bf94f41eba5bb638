"""The optimizers that move the weights: AdamW, or Muon for the hidden layers' matrices with AdamW for the rest."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from runtime.errors import UserError

HIDDEN = ("blocks.", "extract_structure.", "extract_dynamics.", "expand_structure.", "expand_dynamics.")


@dataclass(frozen=True)
class OptimizerConfig:
    """How weights move. Learning rates are used as written, never scaled by the batch.

    Attributes:
        name: `adam` (AdamW's decoupled decay), or `muon`: Muon for the matrices of hidden layers, Adam for the rest.
        lr: Adam's learning rate after warm-up.
        muon_lr: Muon's.
        weight_decay: decoupled from the gradient, for both.
        warmup_steps: linear warm-up; a cosine to `final_lr` times the rate follows.
        clip_norm: largest norm of the gradient; 0 leaves it as it is. Not for Muon: it would clip the updates, whose
            norm is their number's.
    """

    name: Literal["adam", "muon"] = "adam"
    lr: float = 1.6e-4
    muon_lr: float = 4e-3
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 1e-4
    warmup_steps: int = 5000
    final_lr: float = 0.0
    clip_norm: float = 0.0

    def __post_init__(self) -> None:
        if self.name == "muon" and self.clip_norm:
            raise UserError(f"Muon's updates cannot be clipped to {self.clip_norm}: set --optimizer.clip_norm 0")


def make_optimizer(module: nn.Module, config: OptimizerConfig, offload: bool, kernels: bool) -> torch.optim.Optimizer:
    """AdamW for everything, or Muon for the hidden layers' matrices with AdamW for the rest.

    Args:
        kernels: whether Muon takes convolutions' kernels, at which DeepSpeed's own fails (0.19 compares a kernel with
            its matrix); without that they are AdamW's.
    """
    adam = {"lr": config.lr, "betas": config.betas, "eps": 1e-8, "weight_decay": config.weight_decay}
    adam_class, adam_options = adamw(offload)
    if config.name == "adam":
        return adam_class(module.parameters(), **adam, **adam_options)
    from deepspeed.runtime.zero.muon.muon_optimizer import MuonWithAuxAdam

    for name, parameter in module.named_parameters():
        parameter.use_muon = is_hidden_matrix(name, parameter) and (kernels or parameter.ndim == 2)
    muon = {"lr": config.muon_lr, "momentum": 0.95, "weight_decay": config.weight_decay}
    halves = [
        {"params": [p for p in module.parameters() if p.use_muon], "use_muon": True, "name": "muon-params", **muon},
        {
            "params": [p for p in module.parameters() if not p.use_muon],
            "use_muon": False,
            "name": "adam-params",
            **adam,
        },
    ]
    return MuonWithAuxAdam(
        [half for half in halves if half["params"]], adam_optimizer=adam_class, adam_optimizer_kwargs=adam_options
    )


def adamw(offload: bool) -> tuple[type[torch.optim.Optimizer], dict[str, bool]]:
    """PyTorch's, fused into one pass over memory; DeepSpeed's CPU Adam for offloaded states."""
    if offload:
        from deepspeed.ops.adam import DeepSpeedCPUAdam

        return DeepSpeedCPUAdam, {"adamw_mode": True}
    return torch.optim.AdamW, {"fused": True}


def is_hidden_matrix(name: str, parameter: Tensor) -> bool:
    """A linear map or a convolution's kernel inside a transformer block, or between features and twin latents.

    Embeddings, heads, norms and modulations are not.
    """
    inside = any(part in name for part in HIDDEN) and ".modulation." not in name
    return inside and name.endswith(".weight") and parameter.ndim in (2, 4)


def put_steps_beside_weights(optimizer: torch.optim.Optimizer) -> None:
    """Move each weight's step count to its device, where fused AdamW wants it and a universal checkpoint does not."""
    for parameter, state in optimizer.state.items():
        if isinstance(step := state.get("step"), Tensor):
            state["step"] = step.to(parameter.device)
