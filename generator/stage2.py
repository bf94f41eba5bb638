"""The configuration of a stage-two run."""

from dataclasses import dataclass

from generator.config import DiffusionConfig, ModelConfig
from runtime.engine.config import EngineConfig
from runtime.engine.optimizer import OptimizerConfig
from runtime.errors import UserError
from runtime.training.loop import LoopConfig


@dataclass(frozen=True)
class Stage2Config:
    """Everything that makes a stage-two run what it is.

    Attributes:
        run: the run's folder.
        cache: the latents of the training split, as stage one wrote them.
        autoencoder: the weights that wrote the cache and that decode the samples.
        sample_posterior: train on posterior samples; otherwise on posterior means.
        preview: how many videos are sampled on schedule (`loop.validate_every`) and at the end; 0 samples none.
    """

    run: str = "runs/stage2"
    cache: str = "runs/stage1/latents/train"
    autoencoder: str = "runs/stage1/weights/ema"
    model: ModelConfig = ModelConfig()
    diffusion: DiffusionConfig = DiffusionConfig()
    optimizer: OptimizerConfig = OptimizerConfig(lr=1e-4, betas=(0.9, 0.999), weight_decay=0.0, warmup_steps=10_000)
    engine: EngineConfig = EngineConfig()
    loop: LoopConfig = LoopConfig(batch_size=256)
    sample_posterior: bool = False
    preview: int = 16

    def __post_init__(self) -> None:
        if self.preview < 0:
            raise UserError(f"--preview {self.preview} is no number of videos; 0 samples none")
