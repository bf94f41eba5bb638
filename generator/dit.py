"""The diffusion transformer over twin latents (VidTwin, arXiv 2412.17726; after DiT, arXiv 2212.09748)."""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from einops import rearrange
from torch import Tensor, nn

from data.latents import TwinLatents
from generator import tokens
from generator.tokens import Statistics, TokenLayout, TwinTokens, position_table, sincos
from runtime.errors import UserError

TIME_FEATURES = 256


def layer_norm(x: Tensor) -> Tensor:
    """Layer norm over the last axis, without learned weights."""
    return F.layer_norm(x, x.shape[-1:], eps=1e-6)


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """`LN(x)·(1 + scale) + shift`."""
    return layer_norm(x) * (1 + scale) + shift


class RMSNorm(nn.Module):
    """`gain·x/rms(x)` over the last axis. The gain stays outside the fused call, which refuses mixed precisions."""

    def __init__(self, width: int):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * F.rms_norm(x, x.shape[-1:], eps=1e-6)


class Attention(nn.Module):
    """Multi-head attention of `x: b n d` to `context: b m d_context`; queries and keys are RMS-normalised per head."""

    def __init__(self, width: int, context_width: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(context_width, 2 * width)
        self.query_norm = RMSNorm(width // num_heads)
        self.key_norm = RMSNorm(width // num_heads)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        q = rearrange(self.query(x), "b n (head d) -> b head n d", head=self.num_heads)
        k, v = rearrange(self.key_value(context), "b m (two head d) -> two b head m d", two=2, head=self.num_heads)
        y = F.scaled_dot_product_attention(self.query_norm(q), self.key_norm(k), v)
        return self.out(rearrange(y, "b head n d -> b n (head d)"))


class MLP(nn.Sequential):
    """`d -> ratio·d -> d` with tanh-GELU."""

    def __init__(self, width: int, ratio: float):
        hidden = int(width * ratio)
        super().__init__(nn.Linear(width, hidden), nn.GELU(approximate="tanh"), nn.Linear(hidden, width))


class Modulation(nn.Sequential):
    """`count` vectors from the condition `b 1 d`; zero at the start, so every block begins as the identity."""

    def __init__(self, width: int, count: int):
        super().__init__(nn.SiLU(), nn.Linear(width, count * width))
        self.count = count

    def forward(self, condition: Tensor) -> tuple[Tensor, ...]:
        return super().forward(condition).chunk(self.count, dim=-1)


class Block(nn.Module):
    """Self-attention, cross-attention to the class (if it has a width to attend to) and MLP; adaLN-zero."""

    def __init__(self, width: int, num_heads: int, mlp_ratio: float, class_width: int | None):
        super().__init__()
        self.modulation = Modulation(width, 6)
        self.attention = Attention(width, width, num_heads)
        self.cross_attention = Attention(width, class_width, num_heads) if class_width else None
        self.mlp = MLP(width, mlp_ratio)

    def forward(self, x: Tensor, condition: Tensor, classes: Tensor | None) -> Tensor:
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = self.modulation(condition)
        a = modulate(x, shift_a, scale_a)
        x = x + gate_a * self.attention(a, a)
        if self.cross_attention is not None:
            x = x + self.cross_attention(layer_norm(x), classes)
        return x + gate_m * self.mlp(modulate(x, shift_m, scale_m))


class Head(nn.Module):
    """From a token of width d to the values of its patch; zero at the start."""

    def __init__(self, width: int, token_width: int):
        super().__init__()
        self.modulation = Modulation(width, 2)
        self.out = nn.Linear(width, token_width)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        return self.out(modulate(x, *self.modulation(condition)))


class DiT(ModelMixin, ConfigMixin):
    """Class-conditional diffusion transformer whose tokens are patches of both latents. Fields: `DiTConfig`.

    The latents' channel statistics are part of the weights (buffers, 0 and 1 until `set_statistics`): whoever has
    the weights can turn samples into latents that `decode` takes. They stay float32 whatever the model is cast to.

    Raises:
        UserError: a patch that does not divide its latent, or heads that do not divide the width.
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
        structure_patch: tuple[int, int, int] = (1, 1, 1),
        dynamics_patch: tuple[int, int] = (1, 1),
        width: int = 1152,
        depth: int = 18,
        num_heads: int = 16,
        mlp_ratio: float = 4.0,
        class_width: int = 256,
        conditioning: Literal["cross_attention", "adaln"] = "cross_attention",
        std_of: Literal["mean", "sample"] = "mean",
    ):
        super().__init__()
        if width % num_heads or width % 2:
            raise UserError(f"width {width} must be even and a multiple of num_heads {num_heads}")
        # A saved configuration gives lists back.
        self.layout = layout = TokenLayout(
            *map(tuple, (structure_shape, dynamics_shape, structure_patch, dynamics_patch))
        )
        self.null_label = num_classes
        self.gradient_checkpointing = False
        cross = conditioning == "cross_attention"

        # The bias of each projection is the learned vector that tells the two latents apart.
        self.structure_in = nn.Linear(layout.structure_token_width, width)
        self.dynamics_in = nn.Linear(layout.dynamics_token_width, width)
        self.time_embedding = nn.Sequential(nn.Linear(TIME_FEATURES, width), nn.SiLU(), nn.Linear(width, width))
        self.class_embedding = nn.Embedding(num_classes + 1, class_width)
        self.class_to_condition = None if cross else nn.Linear(class_width, width)
        self.blocks = nn.ModuleList(
            Block(width, num_heads, mlp_ratio, class_width if cross else None) for _ in range(depth)
        )
        self.structure_head = Head(width, layout.structure_token_width)
        self.dynamics_head = Head(width, layout.dynamics_token_width)

        self.register_buffer("structure_position", position_table(layout.structure_grid, width), persistent=False)
        self.register_buffer("dynamics_position", position_table(layout.dynamics_grid, width), persistent=False)
        for latent, channels in (("structure", structure_shape[0]), ("dynamics", dynamics_shape[0])):
            # Said, for a model is made under another default where it is loaded in another precision.
            self.register_buffer(f"{latent}_mean", torch.zeros(channels, dtype=torch.float32))
            self.register_buffer(f"{latent}_std", torch.ones(channels, dtype=torch.float32))
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        # A small class embedding (0.02) is never noticed by a short training: samples then ignore their class.
        for signal in (self.class_embedding.weight, self.structure_in.bias, self.dynamics_in.bias):
            nn.init.normal_(signal, std=0.3)
        silent = [module[-1] for module in self.modules() if isinstance(module, Modulation)]
        silent += [self.structure_head.out, self.dynamics_head.out]
        silent += [block.cross_attention.out for block in self.blocks if block.cross_attention is not None]
        for linear in silent:
            nn.init.zeros_(linear.weight)

    def forward(self, noisy: TwinLatents, time: Tensor, label: Tensor) -> TwinLatents:
        """Predict what the objective asks for (clean latents or velocity), in the normalised space.

        Args:
            noisy: normalised latents with noise, structure `b d_S n_q h_S w_S`, dynamics `b d_D t (w_D + h_D)`, in
                float32 whatever the weights' precision, which the prediction has.
            time: `b`, noise level in the schedulers' unit, from 0 (clean) to `num_train_steps`, 1000 (noise).
            label: `b`, int64, a class or `null_label`.
        """
        patches = self.layout.to_tokens(noisy.to(self.structure_in.weight.dtype))
        structure = self.structure_in(patches.structure) + self.structure_position
        dynamics = self.dynamics_in(patches.dynamics) + self.dynamics_position
        x = torch.cat([structure, dynamics], dim=1)

        condition, classes = self._condition(time, label, x.dtype)
        for block in self.blocks:
            if self.gradient_checkpointing and torch.is_grad_enabled():
                x = self._gradient_checkpointing_func(block, x, condition, classes)
            else:
                x = block(x, condition, classes)

        structure, dynamics = x.split([structure.shape[1], dynamics.shape[1]], dim=1)
        return self.layout.to_latents(
            TwinTokens(self.structure_head(structure, condition), self.dynamics_head(dynamics, condition))
        )

    def _condition(self, time: Tensor, label: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
        """The vector that modulates, `b 1 d`, and the class vectors to attend to, `b 2 d_class`, if any."""
        # The sines need the full precision of `time`; only what they give takes the precision of the tokens.
        condition = self.time_embedding(sincos(time, TIME_FEATURES).to(dtype))[:, None]
        if self.class_to_condition is not None:
            return condition + self.class_to_condition(self.class_embedding(label))[:, None], None
        # A softmax over a single key is constant: with the null class beside it, a token can choose how much
        # it listens to its class.
        return condition, self.class_embedding(torch.stack([label, torch.full_like(label, self.null_label)], dim=1))

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
