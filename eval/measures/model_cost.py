"""What an autoencoder or a generator costs, as one row: parameters, FLOPs, peak training memory, latent size."""

from dataclasses import asdict, dataclass
from math import prod

import torch
from torch import Tensor, nn

from autoencoder.config import VidTwinConfig
from autoencoder.flops import inference_flops
from autoencoder.model import VidTwin
from data.latents import TwinLatents
from eval.measures.counting import training_cost
from generator.config import DiffusionConfig, DiTConfig
from generator.diffusion import diffusion_loss, make_objective, make_scheduler
from generator.dit import DiT
from runtime.flops import count_flops
from runtime.random import generator


@dataclass(frozen=True)
class LatentGeometry:
    """The size of a clip and of what it is encoded to, whatever the tokenizer.

    Attributes:
        video: frames, rows and columns of an RGB clip.
        latents: shape of each latent, channels first.
    """

    video: tuple[int, int, int]
    latents: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, config: VidTwinConfig) -> "LatentGeometry":
        return cls(config.video_shape, (config.structure_shape, config.dynamics_shape))

    @property
    def values(self) -> int:
        """Numbers that stand for one clip."""
        return sum(map(prod, self.latents))

    @property
    def rate(self) -> float:
        """Compression rate: latent values over pixel values 3·T·H·W."""
        return self.values / (3 * prod(self.video))

    @property
    def positions(self) -> int:
        """Tokens of a generator that takes each position for one."""
        return sum(prod(shape[1:]) for shape in self.latents)


@dataclass(frozen=True)
class Cost:
    """One row of the table. FLOPs and bytes are those of `batch` clips; None is what a model does not do.

    Attributes:
        tokens: that a generator sees of one clip; for an autoencoder, its latents' positions.
        training_flops: forward and backward pass of one step, without loss networks.
        sample_flops: all evaluations of the model that make samples, with guidance, without decoding them.
        training_memory: peak bytes of a step with Adam in float32: weights, gradients, moments, activations.
        measured: whether that was read off a GPU.
    """

    name: str
    batch: int
    parameters: int
    latent_values: int
    rate: float
    tokens: int
    training_flops: int
    training_memory: int
    measured: bool
    encode_flops: int | None = None
    decode_flops: int | None = None
    sample_flops: int | None = None


def autoencoder_cost(config: VidTwinConfig, batch: int = 1, name: str = "autoencoder") -> Cost:
    """The cost of a VidTwin on `batch` clips; its training step is reconstruction and KL."""
    geometry = LatentGeometry.of(config)

    def build() -> nn.Module:
        return VidTwin.from_config_fields(config)

    def video() -> Tensor:
        return torch.empty(batch, 3, *geometry.video)

    def loss(model: nn.Module) -> Tensor:
        target = video()
        reconstruction, posterior = model(target)
        return (reconstruction - target).abs().mean() + posterior.kl()

    flops = inference_flops(config, batch)
    return Cost(
        name,
        batch,
        encode_flops=flops["encode"],
        decode_flops=flops["decode"],
        **latent_row(geometry),
        **training_cost(build, loss),
    )


def generator_cost(
    config: DiTConfig,
    video: tuple[int, int, int],
    diffusion: DiffusionConfig,
    batch: int = 1,
    name: str = "generator",
) -> Cost:
    """The cost of a DiT on the latents of `batch` clips of `video` frames, rows and columns."""
    shapes = tuple(config.structure_shape), tuple(config.dynamics_shape)
    numbers = generator("cost")

    def build() -> nn.Module:
        return DiT(**asdict(config))

    def latents(count: int) -> TwinLatents:
        return TwinLatents(*(torch.empty(count, *shape) for shape in shapes))

    def loss(model: nn.Module) -> Tensor:
        label = torch.zeros(batch, dtype=torch.int64)
        return diffusion_loss(model, make_objective(diffusion), latents(batch), label, model.null_label, numbers)[0]

    scheduler = make_scheduler(diffusion)
    scheduler.set_timesteps(diffusion.sample_steps)
    count = batch if diffusion.guidance == 1 else 2 * batch
    with torch.device("meta"):
        model = build().eval().requires_grad_(False)
        once = count_flops(lambda: model(latents(count), torch.empty(count), torch.zeros(count, dtype=torch.int64)))
    layout = model.layout
    row = latent_row(LatentGeometry(video, shapes))
    row["tokens"] = prod(layout.structure_grid) + prod(layout.dynamics_grid)
    return Cost(name, batch, sample_flops=len(scheduler.timesteps) * once, **row, **training_cost(build, loss))


def latent_row(geometry: LatentGeometry) -> dict[str, int | float]:
    """What a tokenizer's latent geometry alone says of its cost."""
    return {"latent_values": geometry.values, "rate": geometry.rate, "tokens": geometry.positions}
