"""What a motion classifier is to ignore: place, side and colour."""

import torch
import torch.nn.functional as F
from torch import Tensor


def augment(video: Tensor, shift: int, numbers: torch.Generator) -> Tensor:
    """Every clip of `b c t h w` moved, mirrored and recoloured at random: what is left to tell classes by is motion."""
    return recoloured(mirrored(shifted(video, shift, numbers), numbers), numbers)


def shifted(video: Tensor, shift: int, numbers: torch.Generator) -> Tensor:
    """Up to `shift` pixels in either direction, over repeated borders."""
    h, w = video.shape[-2:]
    padded = F.pad(video, (shift, shift, shift, shift, 0, 0), mode="replicate")
    corners = torch.randint(2 * shift + 1, (len(video), 2), generator=numbers).tolist()
    return torch.stack([clip[..., y : y + h, x : x + w] for clip, (y, x) in zip(padded, corners, strict=True)])


def mirrored(video: Tensor, numbers: torch.Generator) -> Tensor:
    """Left and right exchanged, half the time."""
    return torch.where(torch.rand(len(video), 1, 1, 1, 1, generator=numbers) < 0.5, video.flip(-1), video)


def recoloured(video: Tensor, numbers: torch.Generator) -> Tensor:
    """Colour channels in a random order, each with a random gain, sign and offset."""
    shape = (len(video), 3, 1, 1, 1)
    order = torch.rand(len(video), 3, generator=numbers).argsort(dim=1)
    gain = torch.empty(shape).uniform_(0.6, 1.2, generator=numbers)
    sign = torch.where(torch.rand(shape, generator=numbers) < 0.5, -1.0, 1.0)
    offset = 0.2 * torch.randn(shape, generator=numbers)
    return sign * gain * video[torch.arange(len(video))[:, None], order] + offset
