"""How twin latents become one sequence of tokens, and back: normalisation and patches."""

from dataclasses import dataclass
from math import ceil, prod
from typing import NamedTuple

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from data.latents import TwinLatents
from runtime.errors import UserError


class TwinTokens(NamedTuple):
    """The tokens of each latent, `b n_S p_S` and `b n_D p_D`: a token is the flattened values of one patch."""

    structure: Tensor
    dynamics: Tensor


class Statistics(NamedTuple):
    """Mean and standard deviation of each channel: `d_S` for structure, `d_D` for dynamics."""

    structure_mean: Tensor
    structure_std: Tensor
    dynamics_mean: Tensor
    dynamics_std: Tensor


def normalise(latents: TwinLatents, statistics: Statistics) -> TwinLatents:
    """Latents with zero mean and unit variance in each channel."""
    structure_mean, structure_std, dynamics_mean, dynamics_std = _per_channel(statistics, latents)
    return TwinLatents(
        (latents.structure - structure_mean) / structure_std,
        (latents.dynamics - dynamics_mean) / dynamics_std,
    )


def denormalise(latents: TwinLatents, statistics: Statistics) -> TwinLatents:
    """The inverse of `normalise`."""
    structure_mean, structure_std, dynamics_mean, dynamics_std = _per_channel(statistics, latents)
    return TwinLatents(
        latents.structure * structure_std + structure_mean,
        latents.dynamics * dynamics_std + dynamics_mean,
    )


def _per_channel(statistics: Statistics, latents: TwinLatents) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """To broadcast over the latents, and where these lie: an offloaded model waits for its turn elsewhere."""
    device = latents.structure.device
    structure_mean, structure_std, dynamics_mean, dynamics_std = (values.to(device) for values in statistics)
    return (
        rearrange(structure_mean, "d -> d 1 1 1"),
        rearrange(structure_std, "d -> d 1 1 1"),
        rearrange(dynamics_mean, "d -> d 1 1"),
        rearrange(dynamics_std, "d -> d 1 1"),
    )


@dataclass(frozen=True)
class TokenLayout:
    """How latents of one geometry are cut into patches.

    The structure latent is a video `d_S × n_q × h × w` in 3-D patches; the dynamics latent is a one-frame video
    `d_D × 1 × t × (w + h)`, so its patches are 2-D. Fields as in `generator.config.DiTConfig`.

    Where a patch does not divide an axis, the last one is filled up with zeros, the mean of normalised latents. Every
    token holds a value of the latent, so attention has none to leave out; the filling is cut away by `to_latents`,
    before any loss.

    Raises:
        UserError: a patch of no extent, or an empty latent.
    """

    structure_shape: tuple[int, int, int, int]
    dynamics_shape: tuple[int, int, int]
    structure_patch: tuple[int, int, int]
    dynamics_patch: tuple[int, int]

    def __post_init__(self):
        _check_patch("structure", ("d_S", "n_q", "h_S", "w_S"), self.structure_shape, self.structure_patch)
        _check_patch("dynamics", ("d_D", "t", "w_D + h_D"), self.dynamics_shape, self.dynamics_patch)

    @property
    def structure_grid(self) -> tuple[int, ...]:
        """Tokens along `(n_q, h, w)`."""
        return _grid(self.structure_shape, self.structure_patch)

    @property
    def dynamics_grid(self) -> tuple[int, ...]:
        """Tokens along `(t, w + h)`."""
        return _grid(self.dynamics_shape, self.dynamics_patch)

    @property
    def structure_token_width(self) -> int:
        """p_S, the values in a structure token."""
        return self.structure_shape[0] * prod(self.structure_patch)

    @property
    def dynamics_token_width(self) -> int:
        """p_D, the values in a dynamics token."""
        return self.dynamics_shape[0] * prod(self.dynamics_patch)

    def to_tokens(self, latents: TwinLatents) -> TwinTokens:
        """Cut latents into patches: structure `b d n_q h w` and dynamics `b d t s` -> `TwinTokens`."""
        (a, b, c), (e, f) = self.structure_patch, self.dynamics_patch
        structure = _fill(latents.structure, self.structure_grid, self.structure_patch)
        dynamics = _fill(latents.dynamics, self.dynamics_grid, self.dynamics_patch)
        return TwinTokens(
            rearrange(structure, "n d (q a) (h b) (w c) -> n (q h w) (d a b c)", a=a, b=b, c=c),
            rearrange(dynamics, "n d (t e) (s f) -> n (t s) (d e f)", e=e, f=f),
        )

    def to_latents(self, tokens: TwinTokens) -> TwinLatents:
        """The inverse of `to_tokens`, exactly."""
        (q, h, w), (a, b, c) = self.structure_grid, self.structure_patch
        (t, s), (e, f) = self.dynamics_grid, self.dynamics_patch
        structure = rearrange(
            tokens.structure, "n (q h w) (d a b c) -> n d (q a) (h b) (w c)", q=q, h=h, w=w, a=a, b=b, c=c
        )
        dynamics = rearrange(tokens.dynamics, "n (t s) (d e f) -> n d (t e) (s f)", t=t, s=s, e=e, f=f)
        (_, queries, rows, columns), (_, frames, space) = self.structure_shape, self.dynamics_shape
        return TwinLatents(structure[:, :, :queries, :rows, :columns], dynamics[:, :, :frames, :space])


def _grid(shape: tuple[int, ...], patch: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(ceil(size / extent) for size, extent in zip(shape[1:], patch, strict=True))


def _fill(latent: Tensor, grid: tuple[int, ...], patch: tuple[int, ...]) -> Tensor:
    """Zeros at the end of each axis, up to whole patches."""
    missing = [n * extent - size for n, extent, size in zip(grid, patch, latent.shape[2:], strict=True)]
    return F.pad(latent, [side for axis in reversed(missing) for side in (0, axis)]) if any(missing) else latent


def _check_patch(latent: str, axes: tuple[str, ...], shape: tuple[int, ...], patch: tuple[int, ...]) -> None:
    if len(shape) != len(axes) or len(patch) != len(axes) - 1:
        raise UserError(
            f"{latent}_shape {shape} and {latent}_patch {patch} do not fit: a shape is ({', '.join(axes)}), "
            f"a patch covers ({', '.join(axes[1:])})"
        )
    if min(shape) < 1:
        raise UserError(f"{latent}_shape {shape} is empty: the generator needs both latents")
    if min(patch) < 1:
        raise UserError(f"{latent}_patch {patch} has no extent along an axis: choose at least 1")
