"""What a generator is made of and how it is trained and sampled: plain values, as a YAML file holds them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from runtime.errors import UserError

Times = Literal["shared", "separate"]


@dataclass(frozen=True)
class ModelConfig:
    """The DiT that a person chooses. The defaults are the paper's where it states them, and DiT's where it does not.

    Attributes:
        structure_patch: extent of a structure token over `(n_q, h_S, w_S)`. `(n_q, 1, 1)` makes one token of
            each spatial position, with the queries as its channels. What it does not divide is filled up.
        dynamics_patch: extent of a dynamics token over `(t, w_D + h_D)`. `(1, w_D + h_D)` makes one token of each
            frame.
        class_width: length of the class vector.
        conditioning: how the class enters, by cross-attention in every block (the paper's) or added to the time
            vector that modulates every block. Time always modulates (adaLN-zero).
        modulation: each block makes its own modulation of the time vector, or all share one and add an offset of
            their own (adaLN-single), which saves up to a third of the parameters.
        norm: of a block's inputs.
        qk_norm: queries and keys are RMS-normalised by head, with a learned gain for each.
        mlp: with GELU, or SwiGLU of as many parameters.
        positions: sines and cosines added to the tokens, or rotations of queries and keys.
    """

    structure_patch: tuple[int, int, int] = (2, 2, 2)
    dynamics_patch: tuple[int, int] = (2, 2)
    width: int = 1152
    depth: int = 18
    num_heads: int = 16
    mlp_ratio: float = 4.0
    class_width: int = 256
    conditioning: Literal["cross_attention", "adaln"] = "cross_attention"
    modulation: Literal["block", "shared"] = "block"
    norm: Literal["layer", "rms"] = "layer"
    qk_norm: bool = True
    mlp: Literal["gelu", "swiglu"] = "gelu"
    positions: Literal["sincos", "rotary"] = "sincos"


@dataclass(frozen=True, kw_only=True)
class DiTConfig(ModelConfig):
    """All fields of `generator.dit.DiT`: its sizes, and what the latents and the diffusion process dictate.

    Attributes:
        structure_shape: `(d_S, n_q, h_S, w_S)` of the structure latent.
        dynamics_shape: `(d_D, t, w_D + h_D)` of the dynamics latent.
        num_classes: classes `0 .. num_classes - 1`; the label `num_classes` stands for "no class".
        std_of: what the latents' standard deviations describe, posterior means or posterior samples.
        times: one noise level for both latents, or one for each.
        context: whether the window before can be given.
    """

    structure_shape: tuple[int, int, int, int]
    dynamics_shape: tuple[int, int, int]
    num_classes: int
    std_of: Literal["mean", "sample"] = "mean"
    times: Times = "shared"
    context: bool = False

    @classmethod
    def of(cls, model: ModelConfig, diffusion: "DiffusionConfig", **latents: object) -> "DiTConfig":
        """What a person chose, with what the diffusion process dictates and what the `latents` do: the other fields."""
        return cls(**asdict(model), times=diffusion.times, context=diffusion.context > 0, **latents)


def check_interval(interval: Sequence[float]) -> tuple[float, float]:
    """The two noise levels between which samples are guided. Raises `UserError` where they are none."""
    low, high = interval
    if not 0 <= low < high <= 1:
        raise UserError(f"guidance between the noise levels {low} and {high}: two between 0 and 1 are needed")
    return low, high


@dataclass(frozen=True)
class DiffusionConfig:
    """The diffusion process: what the model predicts, how it is trained, how samples are drawn.

    Attributes:
        objective: `x0`, prediction of the clean latents, sampled by DDIM (the paper's); or `flow`, prediction of the
            velocity of a straight path (rectified flow), sampled by Heun's method.
        num_train_steps: noise levels of `x0`, and the unit of time of both: time runs from 0 (clean) to this (noise).
        times: one noise level for both latents (the paper's), or one for each, so that either can be drawn for a
            given other.
        context: the share of training steps that see the window before each clip, where the cache has it; 0: none, and
            no sample is longer than a window.
        class_dropout: share of training labels replaced by "no class".
        dynamics_weight: weight of the dynamics error beside 1 for structure; each error is a mean over its own
            elements, so 1 counts the two latents equally, whatever their sizes.
        direction_weight: weight of `1 − cos(prediction, target)` beside the squared error.
        logit_mean, logit_std: `flow` draws its times as `sigmoid(N(logit_mean, logit_std²))`; a larger mean is
            more noise.
        time_shift: `flow` moves its times, in training and in sampling, by `s·t / (1 + (s − 1)·t)`: above 1 to more
            noise, as larger latents need.
        sample_steps: steps of the sampler; a step is one evaluation of the model, two with Heun's method.
        guidance: scale of classifier-free guidance; 1 is none.
        guidance_interval: the noise levels, from 0 (clean) to 1, between which samples are guided.
    """

    objective: Literal["x0", "flow"] = "x0"
    num_train_steps: int = 1000
    times: Times = "shared"
    context: float = 0.0
    class_dropout: float = 0.2
    dynamics_weight: float = 1.0
    direction_weight: float = 0.0
    logit_mean: float = 0.0
    logit_std: float = 1.0
    time_shift: float = 1.0
    sample_steps: int = 50
    guidance: float = 5.0
    guidance_interval: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        check_interval(self.guidance_interval)
        if not 0 <= self.context <= 1:
            raise UserError(f"--diffusion.context {self.context} is no share between 0 and 1")
