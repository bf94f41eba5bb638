"""What published figures were measured on, by name."""

from argparse import Namespace
from dataclasses import dataclass

from data.config import Split
from runtime.errors import UserError


@dataclass(frozen=True)
class Protocol:
    """What a published figure was measured on. None leaves it to the user.

    A named one takes clips of consecutive frames, and cuts real videos to the size of the generated ones.

    Attributes:
        split: of UCF-101, the reference.
        num_real, num_generated: clips of each; None takes all there are.
    """

    split: Split | None
    num_real: int | None
    num_generated: int | None
    frames: int | None = 16
    stride: int | None = 1


CUSTOM = "custom"
PROTOCOLS = {
    "styleganv-2048": Protocol("train", 2048, 2048),
    "magvit-10k": Protocol("train", None, 10_000),
    "heldout": Protocol("test", None, None),
    CUSTOM: Protocol(None, None, None, None, None),
}


FRAMES, STRIDE, SPLIT = 16, 1, "train"  # where neither the protocol nor the user says anything


def settle(args: Namespace) -> None:
    """Fill in what the protocol says. Raises `UserError` where an option says something else."""
    protocol = PROTOCOLS[args.protocol]
    fixed = {"frames": protocol.frames, "frame_stride": protocol.stride, "split": protocol.split}
    fixed |= {"num_real": protocol.num_real, "num_generated": protocol.num_generated}
    for name, value in fixed.items() if args.protocol != CUSTOM else ():
        asked = getattr(args, name)
        if asked not in (None, value):
            raise UserError(
                f"{args.protocol} is defined with --{name} {value or 'all'}, not {asked}; use --protocol {CUSTOM}"
            )
        setattr(args, name, value)
    args.frames, args.frame_stride = args.frames or FRAMES, args.frame_stride or STRIDE
    args.split = args.split or SPLIT


def require(protocol: str, side: str, wanted: int | None, available: int) -> int:
    """How many clips to take. Videos are never taken twice to make up a number."""
    if wanted is not None and available < wanted:
        remedy = "ask for fewer" if protocol == CUSTOM else f"use --protocol {CUSTOM}"
        raise UserError(f"{protocol} needs {wanted} {side} videos, there are {available}; make more or {remedy}")
    return wanted or available
