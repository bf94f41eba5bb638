"""Where a number stopped being finite."""

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

NAMED = 3


class NonFiniteWatch:
    """Inside a `with`, remembers the first tensors of some models that are not finite: weights, then activations.

    It reads every activation, which is slow, and keeps `torch.compile` out.
    """

    def __init__(self, models: Mapping[str, nn.Module]) -> None:
        self.models, self.found = models, []

    def __enter__(self) -> "NonFiniteWatch":
        self.stance = torch.compiler.set_stance("force_eager")
        self.stance.__enter__()
        self.hooks = []
        for model_name, model in self.models.items():
            for name, weight in model.named_parameters():
                self.examine(f"{model_name}.{name}", weight)
            for name, module in model.named_modules(prefix=model_name):
                self.hooks.append(module.register_forward_hook(partial(self.examine_output, name)))
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self.hooks:
            hook.remove()
        self.stance.__exit__(None, None, None)

    def examine_output(self, name: str, _: nn.Module, __: object, output: object) -> None:
        for tensor in tree_leaves(output):
            if isinstance(tensor, Tensor):
                self.examine(f"the output of {name}", tensor)

    def examine(self, name: str, tensor: Tensor) -> None:
        if len(self.found) < NAMED and name not in self.found and not bool(tensor.detach().isfinite().all()):
            self.found.append(name)

    @property
    def verdict(self) -> str:
        return ", then ".join(self.found) or "none of the weights and activations, so a gradient"
