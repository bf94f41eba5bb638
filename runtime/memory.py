"""The most memory that this process has held."""

import resource

import torch


def peak_memory(device: torch.device) -> int:
    """Bytes: of the allocator on a GPU, resident on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
