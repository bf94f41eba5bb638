"""Stage one's loss, term by term (design of the release: LDM's autoencoder loss on frames).

Each term is computed and returned in float32, whatever the precision of what it is computed from.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from torch import Tensor, nn

from runtime.distributed import mean_over_ranks

MAX_ADAPTIVE_WEIGHT = 1e4


@dataclass(frozen=True)
class LossConfig:
    """Weights of the terms.

    Attributes:
        pixel_l2: weight of the squared error beside 1 for the absolute error (0 in the release).
        perceptual: weight of LPIPS-VGG; above 0 it needs the VGG weights.
        gradient: weight of the error's differences between neighbouring pixels beside 1 for the absolute error (0 in
            the release): an error that jumps where patches meet costs more than one that does not.
        still: share of a step's clips that are decoded from structure alone, and are to be their own mean frame (0 in
            the release).
        exchange: share of pairs of clips of one scene that exchange their dynamics, painted so that they look different
            (0 in the release; `autoencoder.losses.task`).
        exchange_start: training steps before the first pair does so: dynamics have to say something by then.
        kl: weight of the KL divergence.
        kl_dynamics: how often dynamics' part of it counts (1 in the release): what has a price is told once, in
            structure, and not in every frame.
        adversarial: factor on the adaptive weight of the generator's GAN loss.
        disc_start: training steps before the discriminator exists at all (the release counts the steps of both
            optimizers together: 20001).
    """

    pixel_l2: float = 0.0
    perceptual: float = 0.05
    gradient: float = 0.0
    still: float = 0.0
    exchange: float = 0.0
    exchange_start: int = 0
    kl: float = 0.001
    kl_dynamics: float = 1.0
    adversarial: float = 0.05
    disc_start: int = 10_000


def reconstruction_nll(
    video: Tensor,
    reconstruction: Tensor,
    log_scale: Tensor,
    pixel_l2: float = 0.0,
    perceptual: Tensor | None = None,
    gradient: float = 0.0,
) -> Tensor:
    """Σ over channels and pixels of (error / e^s + s), mean over frames.

    `video`, `reconstruction`: b c t h w; `log_scale` s: a learned scalar; `perceptual`: b t, already weighted,
    counted at every pixel of its frame. With e = x − x̂ and ∂e its differences to the next pixel across and down,
    error = |e| + pixel_l2·e² + perceptual + gradient·(|∂ₕe| + |∂ᵥe|).
    """
    difference = video.float() - reconstruction.float()
    error = difference.abs() + pixel_l2 * difference.square()
    if perceptual is not None:
        error = error + rearrange(perceptual, "b t -> b 1 t 1 1")
    if gradient:
        across, down = F.pad(difference.diff(dim=-1), (0, 1)), F.pad(difference.diff(dim=-2), (0, 0, 0, 1))
        error = error + gradient * (across.abs() + down.abs())
    s = log_scale.float()
    nll = error * torch.exp(-s) + s
    return reduce(nll, "b c t h w -> b t", "sum").mean()


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Hinge: ½·(mean(1 − D(x))₊ + mean(1 + D(x̂))₊)."""
    return 0.5 * (F.relu(1 - real_logits.float()).mean() + F.relu(1 + fake_logits.float()).mean())


def generator_loss(fake_logits: Tensor) -> Tensor:
    """−mean D(x̂)."""
    return -fake_logits.float().mean()


class LastLayer:
    """The gradient of a loss with respect to the decoder's last weight, without a backward pass of its own.

    The last layer is linear, so its gradient is the product of the gradient at its output, which is the gradient
    at x̂ patch by patch, and its input, which a hook keeps. This works for a weight that ZeRO 3 has divided, too.
    """

    def __init__(self, unpatchify: nn.Module) -> None:
        self.to_patches = unpatchify.to_patches
        unpatchify.linear.register_forward_pre_hook(self.keep_input)

    def keep_input(self, _: nn.Module, inputs: tuple[Tensor]) -> None:
        self.input = inputs[0].detach()

    def gradient(self, at_reconstruction: Tensor) -> Tensor:
        """From `b c t h w` to the weight's shape `(p q r c) d`, averaged over processes."""
        outputs = self.to_patches(at_reconstruction).flatten(0, -2)
        return mean_over_ranks(outputs.mT.float() @ self.input.flatten(0, -2).float())


def adaptive_weight(nll_gradient: Tensor, generator_gradient: Tensor, factor: float) -> Tensor:
    """clamp(‖∇nll‖ / (‖∇g‖ + 1e-4), 0, 1e4) · factor, both gradients on the last layer (VQGAN, eq. 7)."""
    ratio = nll_gradient.norm() / (generator_gradient.norm() + 1e-4)
    return ratio.clamp(0, MAX_ADAPTIVE_WEIGHT) * factor
