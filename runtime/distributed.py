"""Where this process stands among the others, and the few collectives that training needs.

Started by nothing, torchrun or the DeepSpeed launcher alike: all that is read is the environment they set.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor


@contextmanager
def processes() -> Iterator[None]:
    """Join the other processes of this run, or be the only one; leave together at the end.

    Inside another such `with` it does nothing.
    """
    if dist.is_initialized():
        yield
        return
    if "RANK" not in os.environ:
        describe_single_process()
    if device().type == "cuda":
        torch.cuda.set_device(device())
    dist.init_process_group("nccl" if device().type == "cuda" else "gloo")
    yield
    # A rank that leaves early can abort the others; after an exception there is nothing to wait for.
    dist.barrier()
    dist.destroy_process_group()


def describe_single_process() -> None:
    """Complete the environment of a plain `python train.py`, for which no launcher did it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT=port)


def rank() -> int:
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this is the process that prints, logs and writes what there is one of."""
    return rank() == 0


def device() -> torch.device:
    """This process's accelerator, or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def barrier() -> None:
    if dist.is_initialized():
        dist.barrier()


def mean_over_ranks(values: Tensor) -> Tensor:
    """The mean of `values` over all processes; the tensor itself when there is one."""
    if world_size() > 1:
        dist.all_reduce(values)
        values /= world_size()
    return values


def agree(flag: bool) -> bool:
    """Whether any process says so."""
    votes = torch.tensor(float(flag), device=device())
    if world_size() > 1:
        dist.all_reduce(votes, op=dist.ReduceOp.MAX)
    return bool(votes.item())


def broadcast_object(value: object) -> object:
    """The main process's value, on every process."""
    if world_size() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box)
    return box[0]
