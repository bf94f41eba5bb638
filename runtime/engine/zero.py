"""ZeRO's stages 1 and 2 with less to do after the backward pass. Beside `engine` and `optimizer` it knows DeepSpeed.

DeepSpeed handles a model's gradients tensor by tensor: copied, put into buckets, looked at for overflow, normed, and
flattened again, some 14 kernels each. Here they lie in one flat float32 buffer for each parameter group from the moment
autograd hands them over, and every later operation is one over that buffer. The optimizer's states, its checkpoints
and its way of dividing them stay DeepSpeed's.
"""

from collections import defaultdict
from collections.abc import Sequence
from math import sqrt

import deepspeed.comm as dist
import torch
from deepspeed.runtime.zero.stage_1_and_2 import DeepSpeedZeroOptimizer, GradPartitionBufferGroup
from torch import Tensor
from torch.nn import Parameter

NORM_CHUNK = 2**22  # a longer sum of squares would lose digits in float32
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # Muon's coefficients of x, x³ and x⁵
NEWTON_SCHULZ_STEPS = 5


class FlatZeroOptimizer(DeepSpeedZeroOptimizer):
    """DeepSpeed's optimizer of stages 1 and 2, taken over by `take_over`; stage 2 keeps DeepSpeed's buckets."""

    def take_over(self) -> None:
        """At stage 1, give every parameter its place in a flat gradient buffer."""
        if self.partition_gradients:
            return
        self.gradient_accumulation_dtype = torch.float32
        self.use_grad_accum_attribute = True
        self.flat_gradients = [torch.zeros_like(flat, dtype=torch.float32) for flat in self.bit16_groups_flat]
        self.places: dict[Parameter, Tensor] = {}
        for flat, *layout in zip(
            self.flat_gradients, self.round_robin_bit16_groups, self.round_robin_bit16_offsets, strict=True
        ):
            for parameter, offset in zip(*layout, strict=True):
                self.places[parameter] = flat.narrow(0, offset, parameter.numel()).view(parameter.shape)

    def _fill_param_grad_accum_attribute(self, param: Parameter) -> None:
        """Autograd's hook on a parameter: its gradient goes to its place, or is added there after the first pass."""
        if self.partition_gradients:
            super()._fill_param_grad_accum_attribute(param)
        elif param.grad is not None:
            place = self.places[param]
            param.grad_accum = place.copy_(param.grad) if param.grad_accum is None else place.add_(param.grad)
            param.grad = None

    def setup_buckets(self) -> None:
        """Stage 1 needs none: gradients have their places."""
        if self.partition_gradients:
            super().setup_buckets()

    def reduce_gradients(self, pipeline_parallel: bool = False) -> None:
        """After the last backward pass of a step: the mean over processes, and of it this process's share."""
        for group, flat in enumerate(self.flat_gradients):
            for parameter in self.bit16_groups[group]:
                if parameter.grad_accum is None:
                    self.places[parameter].zero_()
            process_group = self.real_dp_process_group[group]
            if (processes := dist.get_world_size(process_group)) > 1:
                dist.all_reduce(flat.div_(processes), group=process_group)
            mine = self.params_in_partition[group]
            if mine and self._is_muon_group(mine):
                self.all_grad_tensors[group] = [self.places[parameter] for parameter in mine]
                size, first = self.partition_size[group], self.first_offset[group]
                self.averaged_gradients[group] = self.get_flat_partition(
                    mine, first, size, flat.dtype, flat.device, group, return_tensor_list=True
                )
                self.all_grad_tensors[group] = None
            else:
                size = self.partition_size[group]
                self.averaged_gradients[group] = whole(flat.narrow(0, dist.get_rank(process_group) * size, size))
        self._epilogue_ran_this_backward = True

    def get_flat_partition(
        self,
        tensor_list: Sequence[Parameter],
        first_offset: int,
        partition_size: int,
        dtype: torch.dtype,
        device: torch.device,
        param_group_idx: int,
        return_tensor_list: bool = False,
    ) -> list[Tensor] | Tensor:
        """This process's share of a group's gradients; Muon's orthogonalised, all matrices of a shape at once."""
        if not (tensor_list and self._is_muon_group(tensor_list)):
            return super().get_flat_partition(
                tensor_list, first_offset, partition_size, dtype, device, param_group_idx, return_tensor_list
            )
        updates = self.muon_updates(tensor_list, param_group_idx, dtype, device)
        rank = dist.get_rank(self.real_dp_process_group[param_group_idx])
        starts = self.grad_start_offset[param_group_idx][rank]
        places = self.grad_partition_insertion_offset[param_group_idx][rank]
        flat = torch.zeros(int(partition_size), dtype=dtype, device=device)
        for parameter, update in zip(tensor_list, updates, strict=True):
            number = self.get_param_id(parameter)
            start, place = int(starts[number]), int(places[number])
            length = min(update.numel() - start, len(flat) - place)
            flat[place : place + length] = update.flatten()[start : start + length]
        return whole(flat) if return_tensor_list else flat

    def muon_updates(
        self, parameters: Sequence[Parameter], group: int, dtype: torch.dtype, device: torch.device
    ) -> list[Tensor]:
        """Nesterov's momentum, then orthogonalisation. The momentum counts only once the step is known to be finite."""
        self._muon_momentum_buffer(parameters, group, dtype, device)
        settings = self.optimizer.param_groups[group]
        flat = self._muon_staging_momentum(settings["params"][0], group)
        sizes = [parameter.numel() for parameter in parameters]
        momenta = [each.view(p.shape) for each, p in zip(flat.split(sizes), parameters, strict=True)]
        gradients, beta = self.all_grad_tensors[group], settings["momentum"]
        torch._foreach_lerp_(momenta, gradients, 1 - beta)
        return orthogonalised(torch._foreach_lerp(gradients, momenta, beta))

    def get_grad_norm_direct(
        self, gradients: Sequence[Tensor], params: Sequence[Parameter], norm_type: float = 2
    ) -> Tensor:
        """The norm of a group over all processes; −1, DeepSpeed's sign for it, where it is not finite."""
        shares = gradients if (flat := getattr(gradients, "flat_partition", None)) is None else flat.split(NORM_CHUNK)
        square = torch.stack(torch._foreach_norm(list(shares))).float().square().sum()
        dist.all_reduce(square, group=self.dp_process_group)
        norm = square.sqrt()
        return torch.where(norm.isfinite(), norm, -1.0)

    def should_refresh_expected_hook_count(self) -> bool:
        """No: DeepSpeed would walk the graph at each backward pass, for versions of PyTorch that have no callbacks."""
        return False

    def has_overflow(self, partition_gradients: bool = True) -> bool:
        """Not looked for here: the norm, which is computed next, is not finite where a gradient is not."""
        return False


def whole(partition: Tensor) -> GradPartitionBufferGroup:
    """A share of the gradients that lies in one piece, as DeepSpeed keeps such."""
    return GradPartitionBufferGroup([partition], partition)


def orthogonalised(updates: Sequence[Tensor]) -> list[Tensor]:
    """Muon's orthogonalisation of each matrix, scaled by √max(1, rows / columns); all of one shape in one call.

    A kernel is the matrix of its convolution, one row for each channel that comes out. A matrix and a transposed one
    are of one shape: orthogonalisation commutes with transposing.
    """
    matrices = [update.flatten(1) for update in updates]
    results: list[Tensor] = list(updates)
    of_shape: dict[tuple[int, int], list[int]] = defaultdict(list)
    for i, matrix in enumerate(matrices):
        of_shape[min(matrix.shape), max(matrix.shape)].append(i)
    for chosen in of_shape.values():
        wide = torch.stack([matrices[i] if is_wide(matrices[i]) else matrices[i].mT for i in chosen])
        for i, result in zip(chosen, newton_schulz(wide), strict=True):
            rows, columns = matrices[i].shape
            result = (result if is_wide(matrices[i]) else result.mT) * sqrt(max(1, rows / columns))
            results[i] = result.to(updates[i].dtype).view(updates[i].shape)
    return results


def newton_schulz(matrices: Tensor) -> Tensor:
    """About U·Vᵀ of each matrix U·S·Vᵀ, `n rows columns` with rows ≤ columns, in bfloat16 as Muon's author computes it.

    Five steps of an odd polynomial that draws singular values in (0, 1] towards 1 (Jordan 2024).
    """
    a, b, c = NEWTON_SCHULZ
    x = (matrices / (torch.linalg.matrix_norm(matrices, keepdim=True) + 1e-7)).bfloat16()
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


def is_wide(matrix: Tensor) -> bool:
    return matrix.shape[0] <= matrix.shape[1]
