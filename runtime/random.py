"""Every random number of the project comes from here: a generator named by purpose, run seed, step and rank.

Nothing is drawn from a global state, so a resumed run needs no saved generator: the same name gives the
same numbers.
"""

import hashlib

import torch


def seed_of(purpose: str, *numbers: int) -> int:
    """A 63-bit seed from a purpose and any integers (run seed, step, rank, sample, ...)."""
    name = "/".join([purpose, *map(str, numbers)])
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little") >> 1


def generator(purpose: str, *numbers: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A fresh generator for `purpose`, independent of every other purpose and of every other number."""
    return torch.Generator(device).manual_seed(seed_of(purpose, *numbers))
