"""VidTwin: a video autoencoder with a structure latent and a dynamics latent (arXiv 2412.17726)."""

from dataclasses import asdict, fields
from typing import Literal

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.utils.accelerate_utils import apply_forward_hook
from einops import rearrange
from torch import Tensor, nn

from autoencoder.config import Dynamics, Structure, VidTwinConfig
from autoencoder.network.ablations import DYNAMICS_EXPANDERS, DYNAMICS_EXTRACTORS, STRUCTURE_SUMMARIES
from autoencoder.network.posterior import TwinPosterior
from autoencoder.network.structure import StructureExpander, StructureExtractor
from autoencoder.network.transformer import Patchify, Transformer, Unpatchify
from data.latents import TwinLatents
from runtime.errors import UserError

Part = Literal["both", "structure", "dynamics"]


class Encoder(nn.Module):
    """E: pixels `b c t h w` to features z `b d t h w`."""

    def __init__(self, config: VidTwinConfig) -> None:
        super().__init__()
        self.patchify = Patchify(config.patch, config.dim)
        self.transformer = Transformer(config.grid, config.dim, config.encoder_depth, config.num_heads)

    def forward(self, video: Tensor) -> Tensor:
        return rearrange(self.transformer(self.patchify(video)), "b t h w d -> b d t h w")


class Decoder(nn.Module):
    """D: features `b t h w d` to pixels `b c t h w`."""

    def __init__(self, config: VidTwinConfig) -> None:
        super().__init__()
        self.transformer = Transformer(config.grid, config.dim, config.decoder_depth, config.num_heads)
        self.unpatchify = Unpatchify(config.patch, config.dim, config.overlap)

    def forward(self, u: Tensor) -> Tensor:
        return self.unpatchify(self.transformer(u))


class Unused(nn.Module):
    """Tensors that the released checkpoint holds and no computation reads, kept so that it converts both ways."""

    def __init__(self, patch: tuple[int, int, int], dim: int, channels: int = 3) -> None:
        super().__init__()
        pixels = channels * patch[0] * patch[1] * patch[2]
        self.register_buffer("encoder_head_modulation", torch.zeros(2, dim))
        self.register_buffer("encoder_head_weight", torch.zeros(pixels, dim))
        self.register_buffer("encoder_head_bias", torch.zeros(pixels))
        self.register_buffer("decoder_patch_weight", torch.zeros(dim, channels, *patch))
        self.register_buffer("decoder_patch_bias", torch.zeros(dim))


class VidTwin(ModelMixin, ConfigMixin):
    """The paper's Figure 2: z = E(v); structure = F_S(z), dynamics = F_D(z); v̂ = D(H_S(structure) + H_D(dynamics)).

    Takes the fields of `VidTwinConfig` as keywords; one model has one geometry.
    """

    _supports_gradient_checkpointing = True
    _repeated_blocks = ("Block", "QFormerLayer")

    @register_to_config
    def __init__(
        self,
        frames: int = 16,
        height: int = 224,
        width: int = 224,
        patch: tuple[int, int, int] = (1, 16, 16),
        dim: int = 768,
        encoder_depth: int = 16,
        decoder_depth: int = 16,
        num_heads: int = 12,
        num_queries: int = 16,
        query_dim: int = 64,
        qformer_depth: int = 6,
        qformer_heads: int = 8,
        qformer_hidden: int = 768,
        structure_channels: int = 4,
        structure_conv_dim: int = 128,
        structure_halvings: int = 1,
        dynamics_channels: int = 8,
        dynamics_halvings: int = 1,
        dropout: float = 0.1,
        structure: Structure = "qformer",
        dynamics: Dynamics = "averages",
        overlap: int = 0,
    ) -> None:
        super().__init__()
        self.register_to_config(patch=tuple(patch))
        config = self.typed_config
        self.clip_shape = (3, *config.video_shape)  # made once: `typed_config` would break a compiled `encode` in two
        self.encoder = Encoder(config)
        self.extract_structure = StructureExtractor(config, STRUCTURE_SUMMARIES[config.structure](config))
        self.extract_dynamics = DYNAMICS_EXTRACTORS[config.dynamics](config)
        self.expand_structure = StructureExpander(config)
        self.expand_dynamics = DYNAMICS_EXPANDERS[config.dynamics](config)
        self.decoder = Decoder(config)
        self.unused = Unused(config.patch, config.dim)
        self.apply(initialise)

    @classmethod
    def from_config_fields(cls, config: VidTwinConfig) -> "VidTwin":
        """A freshly initialised model of these sizes."""
        return cls(**asdict(config))

    @property
    def typed_config(self) -> VidTwinConfig:
        """This model's sizes as the dataclass that names them."""
        return VidTwinConfig(**{field.name: self.config[field.name] for field in fields(VidTwinConfig)})

    @apply_forward_hook  # so that an offloaded model comes to its device, as for `forward`
    def encode(self, video: Tensor) -> TwinPosterior:
        """`b c t h w` in [-1, 1] to the posterior of both latents.

        Raises `UserError` when the clip is not of the model's geometry.
        """
        self.check_geometry(video)
        z = self.encoder(video)
        return TwinPosterior.from_parameters(self.extract_structure(z), self.extract_dynamics(z))

    @apply_forward_hook
    def decode(self, latents: TwinLatents, part: Part = "both") -> Tensor:
        """Both latents, or one alone, to a video `b c t h w` around [-1, 1] (not clamped)."""
        u = {
            "both": lambda: self.expand_structure(latents.structure) + self.expand_dynamics(latents.dynamics),
            "structure": lambda: self.expand_structure(latents.structure),
            "dynamics": lambda: self.expand_dynamics(latents.dynamics),
        }
        return self.decoder(u[part]())

    def forward(
        self,
        video: Tensor,
        generator: torch.Generator | None = None,
        *,
        sample: bool = True,
        moved_by: Tensor | None = None,
        moving: Tensor | None = None,
    ) -> tuple[Tensor, TwinPosterior]:
        """What training calls: the reconstruction of a posterior sample (or of its mean), and the posterior.

        Args:
            moved_by: the clip whose dynamics each clip's structure is joined with, int64 `b`; by default its own.
            moving: bool `b`, leaves dynamics out where it is false.
        """
        posterior = self.encode(video)
        latents = posterior.sample(generator) if sample else posterior.mode()
        u_s, u_d = self.expand_structure(latents.structure), self.expand_dynamics(latents.dynamics)
        if moved_by is not None:
            u_d = u_d[moved_by]
        if moving is not None:
            u_d = u_d.where(rearrange(moving, "b -> b 1 1 1 1"), 0)
        return self.decoder(u_s + u_d), posterior

    def check_geometry(self, video: Tensor) -> None:
        if tuple(video.shape[1:]) != self.clip_shape:
            raise UserError(
                f"this model takes clips of shape c t h w = {self.clip_shape}, not {tuple(video.shape[1:])}; "
                "resize or window the video first"
            )


def initialise(module: nn.Module) -> None:
    """Xavier-uniform linear maps and patch embedding with zero bias, as in DiT; convolutions keep PyTorch's."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
    if isinstance(module, nn.Conv3d):
        nn.init.xavier_uniform_(module.weight.flatten(1))
        nn.init.zeros_(module.bias)
