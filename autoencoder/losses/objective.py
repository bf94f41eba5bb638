"""Stage one's objective: what the autoencoder and the discriminator minimise in one step."""

import torch
from torch import Tensor, nn

from autoencoder.losses.perceptual import LPIPS
from autoencoder.losses.task import draw_task
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
from runtime.engine.engine import Engine


class ScaledAutoencoder(nn.Module):
    """The autoencoder with the learned log-scale s of its reconstruction likelihood."""

    def __init__(self, autoencoder: VidTwin) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.log_scale = nn.Parameter(torch.zeros(1))  # DeepSpeed cannot broadcast a 0-d tensor

    def forward(
        self, video: Tensor, *, sample: bool = True, moved_by: Tensor | None = None, moving: Tensor | None = None
    ) -> tuple[Tensor, TwinPosterior, Tensor]:
        """Reconstruction, posterior, s."""
        return *self.autoencoder(video, sample=sample, moved_by=moved_by, moving=moving), self.log_scale.squeeze()


class Objective:
    """The losses of section 4 of the design, with the GAN's from `disc_start` on.

    The terms on the reconstruction are differentiated down to x̂ only. Their gradients there are weighed against
    each other, and one backward pass carries the sum through the autoencoder. All of it is float32: what the networks
    take and give has the precision of their weights, x̂ and the clip are compared in full.
    """

    def __init__(
        self, config: LossConfig, autoencoder: Engine, discriminator: Engine | None, perceptual: LPIPS | None
    ) -> None:
        self.config = config
        self.autoencoder, self.discriminator, self.perceptual = autoencoder, discriminator, perceptual
        self.dtype = next(autoencoder.module.parameters()).dtype
        decoder = autoencoder.module.autoencoder.decoder
        self.last_layer = LastLayer(decoder.unpatchify) if discriminator else None

    def adversarial(self, step: int) -> bool:
        return self.discriminator is not None and step >= self.config.disc_start

    def micro_step(self, video: Tensor, step: int, *, sample: bool = True) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Forward and backward passes of a micro-batch through each engine.

        Returns the reconstruction, what it was to be (`autoencoder.losses.task`), and terms for the log.

        `video`: float32 clips `b c t h w` in [-1, 1].
        """
        task = draw_task(video, self.config, step)
        reconstruction, posterior, log_scale = self.autoencoder(
            task.video.to(self.dtype), sample=sample, moved_by=task.moved_by, moving=task.moving
        )
        carrier, terms = self.autoencoder_loss(task.target, reconstruction, posterior, log_scale, step)
        self.autoencoder.backward(carrier)
        self.autoencoder.step()
        if self.adversarial(step):
            loss, discriminator_terms = self.discriminator_loss(task.target, reconstruction)
            self.discriminator.backward(loss)
            self.discriminator.step()
            terms |= discriminator_terms
        return reconstruction.detach(), task.target, terms

    def autoencoder_loss(
        self, video: Tensor, reconstruction: Tensor, posterior: TwinPosterior, log_scale: Tensor, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """A scalar with the loss's value and gradient, and the terms for the log."""
        x = reconstruction.detach().float().requires_grad_()
        s = log_scale.detach().float().requires_grad_()
        nll = self.nll(video, x, s)
        grad_x, grad_s = torch.autograd.grad(nll, (x, s))
        kl = posterior.kl(self.config.kl_dynamics)
        terms = {"nll": nll, "kl": kl, "log_scale": s, "loss": nll + self.config.kl * kl}
        if self.adversarial(step):
            g = generator_loss(*self.discriminator.module(x.to(self.dtype)))
            (grad_g,) = torch.autograd.grad(g, x)
            weight = adaptive_weight(
                self.last_layer.gradient(grad_x), self.last_layer.gradient(grad_g), self.config.adversarial
            )
            grad_x = grad_x + weight * grad_g
            terms |= {"generator": g, "adaptive_weight": weight, "loss": terms["loss"] + weight * g}
        carrier = (reconstruction * grad_x).sum() + log_scale * grad_s + self.config.kl * kl
        terms = {name: term.detach() for name, term in terms.items()}
        return carrier + (terms["loss"] - carrier.detach()), terms

    def nll(self, video: Tensor, reconstruction: Tensor, log_scale: Tensor) -> Tensor:
        perceptual = None
        if self.perceptual is not None:
            perceptual = self.config.perceptual * self.perceptual(reconstruction, video)
        return reconstruction_nll(
            video, reconstruction, log_scale, self.config.pixel_l2, perceptual, self.config.gradient
        )

    def discriminator_loss(self, video: Tensor, reconstruction: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Hinge loss on the same clips, and the mean logits for the log."""
        real, fake = self.discriminator(video.to(self.dtype), reconstruction.detach())
        loss = discriminator_loss(real, fake)
        terms = {"discriminator": loss, "logits_real": real.float().mean(), "logits_fake": fake.float().mean()}
        return loss, {name: term.detach() for name, term in terms.items()}
