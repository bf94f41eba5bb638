"""The diffusion transformer over twin latents (VidTwin, arXiv 2412.17726; after DiT, arXiv 2212.09748)."""

from collections.abc import Callable
from typing import Literal

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from data.latents import TwinLatents
from generator import tokens
from generator.network.block import Block, Head, Modulation
from generator.network.positions import coordinates, height_share, position_table, rotary_table, sincos
from generator.tokens import Statistics, TokenLayout, TwinTokens
from runtime.errors import UserError

TIME_FEATURES = 256
BEFORE = -1  # the window before, in windows


class DiT(ModelMixin, ConfigMixin):
    """Class-conditional diffusion transformer whose tokens are patches of both latents. Fields: `DiTConfig`.

    The latents' channel statistics are part of the weights (buffers, 0 and 1 until `set_statistics`): whoever has
    the weights can turn samples into latents that `decode` takes. They stay float32 whatever the model is cast to.

    Raises:
        UserError: a patch of no extent, or heads that do not divide the width.
    """

    _supports_gradient_checkpointing = True
    _no_split_modules = ("Block",)
    _repeated_blocks = ("Block",)
    _supports_param_buffer_assignment = False  # loading copies values, so the types of this model stay
    float32_buffers = Statistics._fields

    @register_to_config
    def __init__(
        self,
        structure_shape: tuple[int, int, int, int],
        dynamics_shape: tuple[int, int, int],
        num_classes: int,
        structure_patch: tuple[int, int, int] = (2, 2, 2),
        dynamics_patch: tuple[int, int] = (2, 2),
        width: int = 1152,
        depth: int = 18,
        num_heads: int = 16,
        mlp_ratio: float = 4.0,
        class_width: int = 256,
        conditioning: Literal["cross_attention", "adaln"] = "cross_attention",
        modulation: Literal["block", "shared"] = "block",
        norm: Literal["layer", "rms"] = "layer",
        qk_norm: bool = True,
        mlp: Literal["gelu", "swiglu"] = "gelu",
        positions: Literal["sincos", "rotary"] = "sincos",
        std_of: Literal["mean", "sample"] = "mean",
        times: Literal["shared", "separate"] = "shared",
        context: bool = False,
    ):
        super().__init__()
        if width % num_heads or width % 2 or (width // num_heads) % 2:
            raise UserError(f"width {width} must be a multiple of num_heads {num_heads}, and each head's share even")
        # A saved configuration gives lists back.
        self.layout = layout = TokenLayout(
            *map(tuple, (structure_shape, dynamics_shape, structure_patch, dynamics_patch))
        )
        self.null_label = num_classes
        self.gradient_checkpointing = False
        cross = conditioning == "cross_attention"

        # The bias of each projection is the learned vector that tells the two latents apart, and one more the two
        # halves of dynamics.
        self.structure_in = nn.Linear(layout.structure_token_width, width)
        self.dynamics_in = nn.Linear(layout.dynamics_token_width, width)
        self.height_half = nn.Parameter(torch.empty(width))
        self.time_embedding = time_embedding(width)
        self.other_time_embedding = time_embedding(width) if times == "separate" else None
        self.class_embedding = nn.Embedding(num_classes + 1, class_width)
        self.class_to_condition = None if cross else nn.Linear(class_width, width)
        self.shared_modulation = Modulation(width, 6) if modulation == "shared" else nn.Identity()
        self.blocks = nn.ModuleList(
            Block(width, num_heads, mlp_ratio, class_width if cross else None, norm, qk_norm, mlp, modulation)
            for _ in range(depth)
        )
        self.structure_head = Head(width, layout.structure_token_width, norm)
        self.dynamics_head = Head(width, layout.dynamics_token_width, norm)

        self._place_tokens(layout, width, width // num_heads, positions, (0, BEFORE) if context else (0,))
        for latent, channels in (("structure", structure_shape[0]), ("dynamics", dynamics_shape[0])):
            # Said, for a model is made under another default where it is loaded in another precision.
            self.register_buffer(f"{latent}_mean", torch.zeros(channels, dtype=torch.float32))
            self.register_buffer(f"{latent}_std", torch.ones(channels, dtype=torch.float32))
        self._initialise()

    def _place_tokens(
        self, layout: TokenLayout, width: int, head_width: int, positions: str, windows: tuple[int, ...]
    ) -> None:
        """Fixed tables, of the tokens of a window and of the one before: not parameters, and not saved."""
        (_, _, rows, columns), (_, _, space) = layout.structure_shape, layout.dynamics_shape
        along = height_share(space, columns / (columns + rows), layout.dynamics_patch[1], layout.dynamics_grid[1])
        tables = {"height_share": along.repeat(layout.dynamics_grid[0])[:, None]}
        for window in windows:
            name = "before" if window else "position"
            if positions == "sincos":
                grids = layout.structure_grid, layout.dynamics_grid
                tables[name] = torch.cat([position_table(grid, width, window) for grid in grids])
            else:
                structure, (t, s) = (
                    coordinates(layout.structure_grid, window),
                    coordinates(layout.dynamics_grid, window),
                )
                axes = zip(structure, (torch.zeros_like(t), t, s), strict=True)  # dynamics as a video of one frame
                tables[name] = rotary_table(tuple(torch.cat(axis) for axis in axes), head_width)
        for name, table in tables.items():
            self.register_buffer(name, table, persistent=False)

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        # A small class embedding (0.02) is never noticed by a short training: samples then ignore their class.
        for signal in (self.class_embedding.weight, self.structure_in.bias, self.dynamics_in.bias, self.height_half):
            nn.init.normal_(signal, std=0.3)
        silent = [module[-1] for module in self.modules() if isinstance(module, Modulation)]
        silent += [self.structure_head.out, self.dynamics_head.out]
        silent += [block.class_attention.out for block in self.blocks if block.class_attention is not None]
        for linear in silent:
            nn.init.zeros_(linear.weight)

    def forward(
        self, noisy: TwinLatents, time: Tensor, label: Tensor, context: TwinLatents | None = None
    ) -> TwinLatents:
        """Predict what the objective asks for (clean latents or velocity), in the normalised space.

        Args:
            noisy: normalised latents with noise, structure `b d_S n_q h_S w_S`, dynamics `b d_D t (w_D + h_D)`, in
                float32 whatever the weights' precision, which the prediction has.
            time: noise level in the schedulers' unit, from 0 (clean) to `num_train_steps`, 1000 (noise): `b`, or
                `b 2`, structure's and dynamics'.
            label: `b`, int64, a class or `null_label`.
            context: the clean normalised latents of the window before.
        """
        x = self._embed(noisy, self.position)
        structure, dynamics = torch.Size(self.layout.structure_grid).numel(), x.shape[1]
        dynamics -= structure
        conditions, lengths = self._conditions(time, label, x.dtype), [structure + dynamics]
        if conditions.shape[1] == 2:
            lengths = [structure, dynamics]
        rotary = self.position if self.config.positions == "rotary" else None
        if context is not None:
            x = torch.cat([x, self._embed(context, self.before)], dim=1)
            clean = self._conditions(torch.zeros_like(time), label, x.dtype)[:, :1]
            conditions, lengths = torch.cat([conditions, clean], dim=1), [*lengths, structure + dynamics]
            rotary = None if rotary is None else torch.cat([rotary, self.before], dim=1)

        classes, vectors = self._classes(label), self.shared_modulation(conditions)
        for block in self.blocks:
            if self.gradient_checkpointing and torch.is_grad_enabled():
                x = self._gradient_checkpointing_func(block, x, vectors, lengths, classes, rotary)
            else:
                x = block(x, vectors, lengths, classes, rotary)

        of_structure, of_dynamics = x[:, :structure], x[:, structure : structure + dynamics]
        last = len(lengths) - (context is not None) - 1
        return self.layout.to_latents(
            TwinTokens(
                self.structure_head(of_structure, conditions[:, :1]),
                self.dynamics_head(of_dynamics, conditions[:, last : last + 1]),
            )
        )

    def _embed(self, latents: TwinLatents, position: Tensor) -> Tensor:
        """The tokens of a window, `b n d`: structure's, then dynamics'."""
        patches = self.layout.to_tokens(latents.to(self.structure_in.weight.dtype))
        dynamics = self.dynamics_in(patches.dynamics) + self.height_share * self.height_half
        x = torch.cat([self.structure_in(patches.structure), dynamics], dim=1)
        return x if self.config.positions == "rotary" else x + position

    def _conditions(self, time: Tensor, label: Tensor, dtype: torch.dtype) -> Tensor:
        """The vector that modulates each group of tokens: `b 1 d`, or `b 2 d` where each latent has its own time."""
        if self.other_time_embedding is None:
            if time.ndim > 1:
                raise ValueError("this DiT was made for one time for both latents (times: shared)")
            time = time[:, None]
        elif time.ndim == 1:
            time = time[:, None].expand(-1, 2)
        # The sines need the full precision of `time`; only what they give takes the precision of the tokens.
        features = sincos(time, TIME_FEATURES).to(dtype)
        condition = self.time_embedding(features)
        if self.other_time_embedding is not None:
            condition = condition + self.other_time_embedding(features.flip(1))
        if self.class_to_condition is not None:
            condition = condition + self.class_to_condition(self.class_embedding(label))[:, None]
        return condition

    def _classes(self, label: Tensor) -> Tensor | None:
        """The vectors to attend to, `b 2 d_class`, if classes enter so.

        A softmax over a single key is constant: with the null class beside it, a token can choose how much it listens
        to its class.
        """
        if self.class_to_condition is not None:
            return None
        return self.class_embedding(torch.stack([label, torch.full_like(label, self.null_label)], dim=1))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "DiT":
        """What `to`, `bfloat16` and the like do; statistics go along as integers do, moved and never cast."""
        exact = self.statistics
        super()._apply(fn, recurse)
        for name, values in exact._asdict().items():
            setattr(self, name, fn(values.view(torch.int32)).view(torch.float32))
        return self

    @property
    def statistics(self) -> Statistics:
        """Mean and standard deviation of each latent channel."""
        return Statistics(self.structure_mean, self.structure_std, self.dynamics_mean, self.dynamics_std)

    def set_statistics(self, statistics: Statistics) -> None:
        """Keep the channel statistics of the training latents.

        Raises:
            UserError: a channel that never varies, which no normalisation can scale.
        """
        if min(statistics.structure_std.min(), statistics.dynamics_std.min()) <= 0:
            raise UserError("a latent channel has standard deviation 0: encode more varied clips, or check the cache")
        for kept, given in zip(self.statistics, statistics, strict=True):
            kept.copy_(given)

    def normalise(self, latents: TwinLatents) -> TwinLatents:
        """Latents as `encode` returns them -> as `forward` takes them."""
        return tokens.normalise(latents, self.statistics)

    def denormalise(self, latents: TwinLatents) -> TwinLatents:
        """Latents as `forward` returns them -> as `decode` takes them."""
        return tokens.denormalise(latents, self.statistics)


def time_embedding(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(TIME_FEATURES, width), nn.SiLU(), nn.Linear(width, width))
