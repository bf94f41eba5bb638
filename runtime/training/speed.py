"""How fast training runs, and how near to what the machine could do."""

import time

import torch

from runtime import distributed
from runtime.flops import matmul_rate
from runtime.memory import peak_memory


class Speed:
    """Counts clips; read, it gives the rate since it was read last.

    `flops` are those of the model for one clip, forward and backward; the matrix rate is measured when this is made.
    """

    def __init__(self, flops: int, dtype: torch.dtype) -> None:
        self.flops = flops
        self.ceiling = distributed.world_size() * matmul_rate(distributed.device(), dtype)
        self.clips, self.since = 0, time.perf_counter()

    def advance(self, clips: int) -> None:
        self.clips += clips

    def read(self) -> dict[str, float]:
        """Clips a second, the share of the matrix rate that they make, and this process's peak memory in GB."""
        now = time.perf_counter()
        rate = self.clips / (now - self.since)
        self.clips, self.since = 0, now
        return {
            "speed/clips_per_second": rate,
            "speed/share_of_matmul_rate": rate * self.flops / self.ceiling,
            "speed/peak_memory_gb": peak_memory(distributed.device()) / 1e9,
        }
