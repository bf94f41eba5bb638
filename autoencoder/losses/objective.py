"""Stage one's objective: what the autoencoder and the discriminator minimise in one step."""

import torch
from torch import Tensor, nn

from autoencoder.losses.perceptual import LPIPS
from autoencoder.losses.terms import (
    LastLayer,
    LossConfig,
    adaptive_weight,
    discriminator_loss,
    generator_loss,
    reconstruction_nll,
)
from autoencoder.model import VidTwin
from autoencoder.network.posterior import TwinPosterior
from runtime.training.engine import Engine


class ScaledAutoencoder(nn.Module):
    """The autoencoder with the learned log-scale s of its reconstruction likelihood."""

    def __init__(self, autoencoder: VidTwin) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.log_scale = nn.Parameter(torch.zeros(1))  # DeepSpeed cannot broadcast a 0-d tensor

    def forward(self, video: Tensor, *, sample: bool = True) -> tuple[Tensor, TwinPosterior, Tensor]:
        """Reconstruction, posterior, s."""
        return *self.autoencoder(video, sample=sample), self.log_scale.squeeze()


class Objective:
    """The losses of section 4 of the design, with the GAN's from `disc_start` on.

    The terms on the reconstruction are differentiated down to x̂ only. Their gradients there are weighed against
    each other, and one backward pass carries the sum through the autoencoder.
    """

    def __init__(self, config: LossConfig, model: ScaledAutoencoder, discriminator: Engine | None) -> None:
        self.config = config
        self.discriminator = discriminator
        self.perceptual = LPIPS().to(next(model.parameters()).device) if config.perceptual else None
        self.last_layer = LastLayer(model.autoencoder.decoder.unpatchify) if discriminator else None

    def adversarial(self, step: int) -> bool:
        return self.discriminator is not None and step >= self.config.disc_start

    def autoencoder_loss(
        self, video: Tensor, reconstruction: Tensor, posterior: TwinPosterior, log_scale: Tensor, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """A scalar with the loss's value and gradient, and the terms for the log."""
        x = reconstruction.detach().requires_grad_()
        s = log_scale.detach().requires_grad_()
        nll = self.nll(video, x, s)
        grad_x, grad_s = torch.autograd.grad(nll, (x, s))
        kl = posterior.kl()
        terms = {"nll": nll, "kl": kl, "log_scale": s, "loss": nll + self.config.kl * kl}
        if self.adversarial(step):
            g = generator_loss(*self.discriminator.module(x))
            (grad_g,) = torch.autograd.grad(g, x)
            weight = adaptive_weight(
                self.last_layer.gradient(grad_x), self.last_layer.gradient(grad_g), self.config.adversarial
            )
            grad_x = grad_x + weight.to(grad_g.dtype) * grad_g
            terms |= {"generator": g, "adaptive_weight": weight, "loss": terms["loss"] + weight * g}
        carrier = (reconstruction * grad_x).sum() + log_scale * grad_s + self.config.kl * kl
        terms = {name: term.detach() for name, term in terms.items()}
        return carrier + (terms["loss"] - carrier.detach()), terms

    def nll(self, video: Tensor, reconstruction: Tensor, log_scale: Tensor) -> Tensor:
        perceptual = None
        if self.perceptual is not None:
            perceptual = self.config.perceptual * self.perceptual(reconstruction.float(), video.float())
        return reconstruction_nll(video, reconstruction, log_scale, self.config.pixel_l2, perceptual)

    def discriminator_loss(self, video: Tensor, reconstruction: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Hinge loss on the same clips, and the mean logits for the log."""
        real, fake = self.discriminator(video, reconstruction.detach())
        loss = discriminator_loss(real, fake)
        terms = {"discriminator": loss, "logits_real": real.mean(), "logits_fake": fake.mean()}
        return loss, {name: term.detach() for name, term in terms.items()}
