"""What a generator is made of and how it is trained and sampled: plain values, as a YAML file holds them."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ModelConfig:
    """The sizes of a DiT that a person chooses. The defaults are the paper's where it states them.

    Attributes:
        structure_patch: extent of a structure token over `(n_q, h_S, w_S)`. `(n_q, 1, 1)` makes one token of
            each spatial position, with the queries as its channels.
        dynamics_patch: extent of a dynamics token over `(t, w_D + h_D)`. `(1, w_D + h_D)` makes one token of each
            frame.
        class_width: length of the class vector.
        conditioning: how the class enters, by cross-attention in every block (the paper's) or added to the time
            vector that modulates every block. Time always modulates (adaLN-zero).
    """

    structure_patch: tuple[int, int, int] = (1, 1, 1)
    dynamics_patch: tuple[int, int] = (1, 1)
    width: int = 1152
    depth: int = 18
    num_heads: int = 16
    mlp_ratio: float = 4.0
    class_width: int = 256
    conditioning: Literal["cross_attention", "adaln"] = "cross_attention"


@dataclass(frozen=True, kw_only=True)
class DiTConfig(ModelConfig):
    """All fields of `generator.dit.DiT`: its sizes, and what the latents dictate.

    Attributes:
        structure_shape: `(d_S, n_q, h_S, w_S)` of the structure latent.
        dynamics_shape: `(d_D, t, w_D + h_D)` of the dynamics latent.
        num_classes: classes `0 .. num_classes - 1`; the label `num_classes` stands for "no class".
        std_of: what the latents' standard deviations describe, posterior means or posterior samples.
    """

    structure_shape: tuple[int, int, int, int]
    dynamics_shape: tuple[int, int, int]
    num_classes: int
    std_of: Literal["mean", "sample"] = "mean"


@dataclass(frozen=True)
class DiffusionConfig:
    """The diffusion process: what the model predicts, how it is trained, how samples are drawn.

    Attributes:
        objective: `x0`, prediction of the clean latents, sampled by DDIM (the paper's); or `flow`, prediction of the
            velocity of a straight path (rectified flow), sampled by Heun's method.
        num_train_steps: noise levels of `x0`, and the unit of time of both: time runs from 0 (clean) to this (noise).
        class_dropout: share of training labels replaced by "no class".
        dynamics_weight: weight of the dynamics error beside 1 for structure; each error is a mean over its own
            elements, so 1 counts the two latents equally, whatever their sizes.
        logit_mean, logit_std: `flow` draws its times as `sigmoid(N(logit_mean, logit_std²))`; a larger mean is
            more noise.
        sample_steps: steps of the sampler; a step is one evaluation of the model with `x0`, two with `flow`.
        guidance: scale of classifier-free guidance; 1 is none.
    """

    objective: Literal["x0", "flow"] = "x0"
    num_train_steps: int = 1000
    class_dropout: float = 0.2
    dynamics_weight: float = 1.0
    logit_mean: float = 0.0
    logit_std: float = 1.0
    sample_steps: int = 50
    guidance: float = 5.0
