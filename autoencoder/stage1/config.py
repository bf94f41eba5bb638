"""What makes a stage-one run what it is."""

from dataclasses import dataclass, replace

from autoencoder.config import VidTwinConfig
from autoencoder.losses.terms import LossConfig
from data.config import DataConfig
from runtime.engine.config import EngineConfig
from runtime.engine.optimizer import OptimizerConfig
from runtime.errors import UserError
from runtime.training.loop import LoopConfig


@dataclass(frozen=True)
class ValidationConfig:
    """What is measured on held-out videos.

    Attributes:
        clips: at most so many, spread evenly over the videos; of shards, those of the first.
        batch_size: clips a forward pass.
    """

    clips: int = 256
    batch_size: int = 8


@dataclass(frozen=True)
class Stage1Config:
    """Everything that makes a stage-one run what it is.

    Attributes:
        run: the run's folder.
        init_from: weights to start from, for fine-tuning or at another geometry: a diffusers folder or a released
            checkpoint; empty for a fresh start.
        sample_posterior: reconstruct from a posterior sample (the paper's); otherwise from its mean.
    """

    run: str = "runs/stage1"
    init_from: str = ""
    model: VidTwinConfig = VidTwinConfig()
    data: DataConfig = DataConfig()
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    engine: EngineConfig = EngineConfig()
    loop: LoopConfig = LoopConfig()
    validation: ValidationConfig = ValidationConfig()
    sample_posterior: bool = True

    def __post_init__(self) -> None:
        if self.loop.ema_widths:
            raise UserError("--loop.ema_widths is for stage two alone; stage one averages by --loop.ema_decay")

    @property
    def adversarial(self) -> bool:
        """Whether the run ever comes to its discriminator."""
        return self.loss.adversarial > 0 and self.loss.disc_start < self.loop.steps

    @property
    def of_own_data(self) -> "Stage1Config":
        """The same without the data sets that are seen besides, whose clips have no class for stage two to learn."""
        return replace(self, data=replace(self.data, also=()))
