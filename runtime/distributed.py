"""Where this process stands among the others, and the few collectives that training needs.

Started by nothing, torchrun, the DeepSpeed launcher or Slurm alike: all that is read is `RANK`, `WORLD_SIZE`,
`LOCAL_RANK`, `MASTER_ADDR` and `MASTER_PORT`. Which processes share a machine they find out themselves.
"""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from fractions import Fraction
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from runtime.errors import Preempted, SaidByMain, UserError
from runtime.network import name_interface

Result = TypeVar("Result")

PATIENCE = timedelta(days=1)  # the main process may index a large data set while the others wait for it

# What processes tell each other in passing goes from host to host: nothing waits for a GPU.
_hosts: dist.ProcessGroup | None = None
_cores_on_this_machine: list[set[int]] = []  # of each process here, those that it may use
_pretended: int | None = None  # processes, while a step is traced or planned


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
    name_interface(os.environ["MASTER_ADDR"])
    if device().type == "cuda":
        os.environ["LOCAL_RANK"] = str(device().index)  # from which DeepSpeed takes the device
        torch.cuda.set_device(device())
    dist.init_process_group("nccl" if device().type == "cuda" else "gloo")
    meet_others()
    try:
        yield
    except Preempted:
        leave()
        raise
    leave()


def meet_others() -> None:
    """Open the group of hosts, and find out who shares this machine."""
    global _hosts
    _hosts = dist.new_group(backend="gloo", timeout=PATIENCE)
    here = socket.gethostname()
    _cores_on_this_machine[:] = [cores for host, cores in gather([(here, usable_cores())]) if host == here]


def leave() -> None:
    """A process that goes early can abort the others, so they go together; after a failure nothing is waited for."""
    barrier()
    dist.destroy_process_group()
    _cores_on_this_machine.clear()


def describe_single_process() -> None:
    """Complete the environment of a plain `python train.py`, for which no launcher did it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT=port)


def rank() -> int:
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    return _pretended or int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def as_one_of(processes: int) -> Iterator[None]:
    """As if there were so many processes, of which none is met: for steps that are planned or traced, not taken."""
    global _pretended
    before, _pretended = _pretended, processes
    try:
        yield
    finally:
        _pretended = before


def alone() -> AbstractContextManager[None]:
    """As if there were no other process."""
    return as_one_of(1)


def is_main() -> bool:
    """Whether this is the process that prints, logs and writes what there is one of."""
    return rank() == 0


def device() -> torch.device:
    """This process's accelerator, or the CPU.

    Slurm may show each process its own GPU alone, whatever its number. Raises `UserError` when there are too few.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    number, visible = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if number >= visible > 1:
        raise UserError(f"there is no GPU for process {number} of this machine, which shows {visible}; start fewer")
    return torch.device("cuda", number % visible)


def local_processes() -> int:
    """How many processes of this run share this machine; all processes have met by then, or this one is alone."""
    return max(len(_cores_on_this_machine), 1)


def usable_cores() -> set[int]:
    return os.sched_getaffinity(0)


def cores() -> int:
    """How many whole cores fall to this process: its own, and its part of those that it shares with others."""
    everyone = _cores_on_this_machine or [usable_cores()]
    return int(sum(Fraction(1, sum(core in those for those in everyone)) for core in usable_cores()))


def barrier() -> None:
    if dist.is_initialized():
        dist.barrier(_hosts)


def mean_over_ranks(values: Tensor) -> Tensor:
    """The mean of `values` over all processes; the tensor itself when there is one."""
    if world_size() > 1:
        dist.all_reduce(values)
        values /= world_size()
    return values


def greatest(number: int) -> int:
    """The greatest of all processes' numbers."""
    if world_size() == 1:
        return number
    box = torch.tensor(number)
    dist.all_reduce(box, op=dist.ReduceOp.MAX, group=_hosts)
    return int(box)


def agree(flag: bool) -> bool:
    """Whether any process says so."""
    return bool(greatest(int(flag)))


def gather(values: list) -> list:
    """All processes' lists, one after the other."""
    if world_size() == 1:
        return values
    boxes = [None] * world_size()
    dist.all_gather_object(boxes, values, group=_hosts)
    return [value for box in boxes for value in box]


def on_main(work: Callable[[], Result]) -> Result:
    """What `work` returns on the main process, on every process; so is a `UserError` that it raises."""
    if world_size() == 1:
        return work()
    answer = [None, None]
    if is_main():
        try:
            answer = [work(), None]
        except UserError as error:
            answer = [None, error]
    dist.broadcast_object_list(answer, group=_hosts)
    result, error = answer
    if error is not None:
        raise error if is_main() else SaidByMain(str(error))
    return result
