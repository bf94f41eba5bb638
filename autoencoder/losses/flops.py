"""FLOPs of the loss networks, counted on fake tensors: autocast, which LPIPS uses, does not know meta tensors."""

import torch

from autoencoder.losses.discriminator import PatchDiscriminator
from autoencoder.losses.perceptual import LPIPS
from autoencoder.losses.terms import discriminator_loss, generator_loss
from runtime.flops import count_flops
from runtime.memory import traced


def loss_flops(video_shape: tuple[int, int, int], adversarial: bool, perceptual: bool) -> int:
    """Of one clip `t h w` through the loss networks, as `Objective` runs them in a training step."""
    with traced():
        network = LPIPS(trained=False) if perceptual else None
        real = torch.empty(1, 3, *video_shape)
        fake = real.clone().requires_grad_()
        discriminator = PatchDiscriminator()

        def run() -> None:
            if network is not None:
                network(fake, real).sum().backward()
            if adversarial:
                generator_loss(*discriminator.requires_grad_(False)(fake)).backward()
                discriminator_loss(*discriminator.requires_grad_(True)(real, fake.detach())).backward()

        return count_flops(run)
