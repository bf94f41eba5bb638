"""FLOPs of a computation, and the rate at which this machine could do them."""

import time
from collections.abc import Callable
from functools import cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from runtime.random import generator

SIDES = {"cpu": 2048, "cuda": 8192}
REPEATS = 5


def count_flops(run: Callable[[], object]) -> int:
    """FLOPs of the matrix products, convolutions and attentions in `run`; a multiply-add counts as two."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


@cache
def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of the fastest of a few large square matrix products: the ceiling of everything that is trained here.

    Measured once in a process, of random numbers: a GPU draws less power on constant ones, and runs faster than on
    anything real.
    """
    n = SIDES[device.type]
    a, b = torch.randn(2, n, n, device=device, dtype=dtype, generator=generator("matmul rate", device=device))
    fastest = min(timed(lambda: a @ b, device) for _ in range(REPEATS + 1))
    return 2 * n**3 / fastest


def timed(run: Callable[[], object], device: torch.device) -> float:
    """Seconds until `run` is done, on the device too."""
    synchronize(device)
    started = time.perf_counter()
    run()
    synchronize(device)
    return time.perf_counter() - started


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
