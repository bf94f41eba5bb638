"""PatchGAN discriminator on single frames (pix2pix, arXiv 1611.07004; as in VQGAN and the release)."""

from einops import rearrange
from torch import Tensor, nn

FILTERS = 64
LAYERS = 3
MAX_FACTOR = 8


class PatchDiscriminator(nn.Module):
    """4×4 convolutions, three of stride 2, to one logit for each overlapping 70×70 patch of a frame."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        dims = [FILTERS * min(2**i, MAX_FACTOR) for i in range(LAYERS + 1)]
        layers: list[nn.Module] = [nn.Conv2d(channels, dims[0], 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for i in range(LAYERS):
            stride = 1 if i == LAYERS - 1 else 2
            layers += [
                nn.Conv2d(dims[i], dims[i + 1], 4, stride=stride, padding=1, bias=False),
                nn.BatchNorm2d(dims[i + 1], track_running_stats=False),
                nn.LeakyReLU(0.2),
            ]
        layers.append(nn.Conv2d(dims[-1], 1, 4, padding=1))
        self.layers = nn.Sequential(*layers)
        self.apply(initialise)

    def forward(self, *videos: Tensor) -> tuple[Tensor, ...]:
        """Logits `(b t) 1 h' w'` for each video `b c t h w`; each has batch statistics of its own."""
        return tuple(self.layers(rearrange(video, "b c t h w -> (b t) c h w")) for video in videos)


def initialise(module: nn.Module) -> None:
    """Weights N(0, 0.02²); batch norm's scale N(1, 0.02²)."""
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
