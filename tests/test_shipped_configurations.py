"""Every configuration that is shipped takes steps, at the precision and with the objective it names, made small."""

from pathlib import Path

import pytest

from autoencoder.cache import CacheConfig, cache_split
from autoencoder.model import VidTwin
from autoencoder.stage1.config import Stage1Config
from autoencoder.train import train as train_stage1
from generator.stage2 import Stage2Config
from generator.train import train as train_stage2
from runtime.config import load
from runtime.weights import load_model

CONFIGS = Path(__file__).parents[1] / "configs"
SMALL_LOOP = ["--loop.batch_size=2", "--loop.log_every=1", "--loop.validate_every=0", "--loop.save_every=1"]
SMALL_STAGE1 = [
    *("--model.frames=4", "--model.height=32", "--model.width=32", "--model.patch=[1,8,8]", "--model.dim=16"),
    *("--model.encoder_depth=1", "--model.decoder_depth=1", "--model.num_heads=2", "--model.num_queries=4"),
    *("--model.query_dim=8", "--model.qformer_depth=1", "--model.qformer_heads=2", "--model.qformer_hidden=16"),
    *("--model.structure_conv_dim=8", "--loss.perceptual=0", "--loss.disc_start=1"),
    *("--loss.exchange_start=1", "--validation.clips=2"),
    *("--data.in_memory=true", "--data.workers=0", *SMALL_LOOP),
]
SMALL_STAGE2 = ["--model.width=16", "--model.depth=1", "--model.num_heads=2", "--preview=2"]
SMALL_STAGE2 += ["--diffusion.sample_steps=2"]


def files(stage: str) -> list[Path]:
    return sorted((CONFIGS / stage).rglob("*.yaml"))


def name(file: Path) -> str:
    return str(file.relative_to(CONFIGS).with_suffix(""))


@pytest.mark.parametrize("file", files("stage1"), ids=name)
def test_stage_one_trains_saves_resumes_and_validates(file, processes, builtin_set, tmp_path):
    """LPIPS alone is left out: its weights are not here. Its path is run with random ones in its own tests."""
    places = ["--run", str(tmp_path), "--data.root", str(builtin_set)]
    for steps in (2, 3):
        train_stage1(load(Stage1Config, file, [*SMALL_STAGE1, *places, f"--loop.steps={steps}"]))
    assert (tmp_path / "checkpoints/step_00000003").is_dir()
    load_model(VidTwin, tmp_path / "weights/ema")
    lines = (tmp_path / "metrics.jsonl").read_text()
    assert "validation/psnr" in lines
    assert '"skipped_steps": 0.0' in lines


@pytest.fixture(scope="module")
def latents(processes, builtin_set, tmp_path_factory):
    """Of a model with the demo's counts of queries, frames and channels, which the patches of stage two divide."""
    run = tmp_path_factory.mktemp("latents")
    small = [*SMALL_STAGE1, "--run", str(run), "--data.root", str(builtin_set), "--loop.steps=1"]
    config = load(Stage1Config, CONFIGS / "stage1/demo.yaml", [*small, "--model.num_queries=8"])
    train_stage1(config)
    every_window = CacheConfig(run=str(run), batch_size=4, clips_per_video="all")
    cache_split(every_window, config, load_model(VidTwin, run / "weights/ema"), "train")
    return run


@pytest.mark.parametrize("file", files("stage2"), ids=name)
def test_stage_two_trains_saves_resumes_and_previews(file, latents, tmp_path):
    places = ["--run", str(tmp_path), "--cache", str(latents / "latents/train")]
    places += ["--autoencoder", str(latents / "weights/ema")]
    for steps in (2, 3):
        train_stage2(load(Stage2Config, file, [*SMALL_STAGE2, *SMALL_LOOP, *places, f"--loop.steps={steps}"]))
    assert (tmp_path / "checkpoints/step_00000003").is_dir()
    assert (tmp_path / "weights/ema/model_index.json").is_file()
    assert (tmp_path / "videos/step_00000003.mp4").is_file()
    assert '"skipped_steps": 0.0' in (tmp_path / "metrics.jsonl").read_text()
