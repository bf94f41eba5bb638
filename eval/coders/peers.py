"""Others' autoencoders from local weights, by the name of their family: one adapter over what diffusers has."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from eval.coders.adapters import LTX, Allegro, ByFrame, Causal, ClipByClip, Strides, TemporalDecoder, VidTok
from eval.coders.coder import Coded
from eval.coders.lattice import cut_back, extended, least_multiple
from runtime.errors import UserError
from runtime.precision import full_precision
from runtime.weights import load_model, weights_hash


@dataclass(frozen=True)
class Family:
    """Autoencoders of one architecture.

    Attributes:
        class_name: in diffusers.
        adapter: how it is called.
        strides: read off a model, since one architecture comes with several.
    """

    class_name: str
    adapter: type[Causal]
    strides: Strides


def ratios(model: nn.Module) -> tuple[int, int]:
    return model.temporal_compression_ratio, model.spatial_compression_ratio


def halvings(levels: list[int]) -> int:
    """The stride of a network that halves between its levels."""
    return 2 ** (len(levels) - 1)


FAMILIES = {
    "kl": Family("AutoencoderKL", ByFrame, lambda model: (1, halvings(model.config.block_out_channels))),
    "tiny": Family("AutoencoderTiny", ByFrame, lambda model: (1, halvings(model.config.encoder_block_out_channels))),
    "dc": Family("AutoencoderDC", ByFrame, ratios),
    "svd": Family(
        "AutoencoderKLTemporalDecoder",
        TemporalDecoder,
        lambda model: (1, halvings(model.config.block_out_channels)),
    ),
    "cogvideox": Family(
        "AutoencoderKLCogVideoX",
        Causal,
        lambda model: (model.config.temporal_compression_ratio, halvings(model.config.block_out_channels)),
    ),
    "ltx": Family("AutoencoderKLLTXVideo", LTX, ratios),
    "wan": Family(
        "AutoencoderKLWan",
        Causal,
        lambda model: (model.config.scale_factor_temporal, model.config.scale_factor_spatial),
    ),
    "hunyuan": Family("AutoencoderKLHunyuanVideo", Causal, ratios),
    "hunyuan1.5": Family("AutoencoderKLHunyuanVideo15", ClipByClip, ratios),
    "cosmos": Family(
        "AutoencoderKLCosmos",
        Causal,
        lambda model: (model.config.temporal_compression_ratio, model.config.spatial_compression_ratio),
    ),
    "allegro": Family(
        "AutoencoderKLAllegro",
        Allegro,
        lambda model: (model.config.temporal_compression_ratio, model.spatial_compression_ratio),
    ),
    "mochi": Family("AutoencoderKLMochi", Causal, ratios),
    "vidtok": Family(
        "AutoencoderVidTok",
        VidTok,
        lambda model: (model.temporal_compression_ratio, 2 ** len(model.encoder.spatial_ds)),
    ),
}


class PeerCoder:
    """Any autoencoder of diffusers on clips of any length and size.

    A clip is extended by copies of its last frame, row and column until the model takes it whole, and what comes back
    is cut to the clip; the values of the latent are those of the extended clip.

    Attributes:
        model: in eval mode, float32, on the device that clips come on.
    """

    def __init__(self, name: str, model: nn.Module, family: Family) -> None:
        self.name, self.adapter = name, family.adapter(model, family.strides(model))

    @property
    def identity(self) -> str:
        model = self.adapter.model
        config = {key: value for key, value in model.config.items() if not key.startswith("_")}  # not where it lay
        return f"{type(model).__name__} {sorted(config.items())} {weights_hash(model)}"

    @full_precision()
    @torch.inference_mode()
    def __call__(self, video: Tensor) -> Coded:
        latent = self.encode(video)
        return Coded(self.decode(latent, video), latent[0].numel())

    def encode(self, video: Tensor) -> Tensor:
        """`b c t h w` to the latent of the extended clip, `b c t h w`."""
        return self.adapter.encode(extended(video, self.size(video)))

    def decode(self, latent: Tensor, like: Tensor) -> Tensor:
        """What a latent shows, in the size of the clip `like` that it was made of."""
        back, size = self.adapter.decode(latent), self.size(like)
        if tuple(back.shape[2:]) != size:
            raise UserError(
                f"{self.name} gives {dimensions(back.shape[2:])} back for {dimensions(size)}: its config.json names "
                "other compression ratios than its network has"
            )
        return cut_back(back, like).clamp(-1, 1)

    def size(self, video: Tensor) -> tuple[int, int, int]:
        """Frames, rows and columns of a clip that the model takes whole."""
        (t, h, w), adapter = video.shape[2:], self.adapter
        rows, columns = (least_multiple(side, adapter.space) for side in (h, w))
        return adapter.first + least_multiple(max(t - adapter.first, 0), adapter.step), rows, columns


def dimensions(size: Sequence[int]) -> str:
    return "x".join(map(str, size))


def load_peer(name: str, folder: Path, device: torch.device) -> PeerCoder:
    """The autoencoder of the family `name` whose diffusers weights are in `folder`; nothing is fetched.

    Raises `UserError` where there are none, or those of another class.
    """
    import diffusers

    family, config = FAMILIES[name], folder / "config.json"
    if not config.is_file():
        raise UserError(f"{folder} holds no config.json: give a folder of diffusers weights, of a pipeline its vae/")
    try:
        found = json.loads(config.read_text()).get("_class_name")
    except ValueError as error:
        raise UserError(f"{config} is not JSON: {error}") from error
    if found != family.class_name:
        right = next((other for other, each in FAMILIES.items() if each.class_name == found), None)
        raise UserError(
            f"{folder} holds {found}, not the {family.class_name} of {name}: "
            + (f"write {right}:{folder}" if right else f"known are {', '.join(FAMILIES)}")
        )
    model = load_model(getattr(diffusers, family.class_name), folder)
    return PeerCoder(name, model.to(device), family)
