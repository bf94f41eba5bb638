"""FLOPs of the loss networks, counted on fake tensors: autocast, which LPIPS uses, does not know meta tensors."""

import torch
from einops import rearrange

from autoencoder.losses.discriminator import PatchDiscriminator
from autoencoder.losses.perceptual import FrameDistance
from autoencoder.losses.terms import discriminator_loss, generator_loss
from runtime.flops import count_flops
from runtime.memory import traced


def loss_flops(video_shape: tuple[int, int, int], adversarial: bool, perceptual: bool) -> int:
    """Of one clip `t h w` through the loss networks, as `Objective` runs them in a training step."""
    with traced():
        distance = FrameDistance(torch.float32, trained=False) if perceptual else None
        real = torch.empty(1, 3, *video_shape)
        fake = real.clone().requires_grad_()
        discriminator = PatchDiscriminator()

        def run() -> None:
            if distance is not None:  # as `LPIPS` runs it, if all frames at once
                frames, target = (rearrange(each, "b c t h w -> (b t) c h w") for each in (fake, real))
                distance(frames, target).sum().backward()
            if adversarial:
                generator_loss(*discriminator.requires_grad_(False)(fake)).backward()
                discriminator_loss(*discriminator.requires_grad_(True)(real, fake.detach())).backward()

        return count_flops(run)
