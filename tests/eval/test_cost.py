"""Costs against counts by hand, another tracker, and the paper's table."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker

from autoencoder.config import VidTwinConfig
from autoencoder.network.transformer import Transformer
from eval.cost import main, on_latents, scaled
from eval.measures.counting import traced_memory
from eval.measures.model_cost import LatentGeometry, generator_cost
from generator.config import DiffusionConfig, DiTConfig
from generator.stage2 import Stage2Config
from runtime.config import load
from runtime.flops import count_flops

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize(
    ("changes", "values", "rate"),
    [
        ({}, 3136 + 1792, 0.2046),
        ({"dynamics_channels": 16, "dynamics_halvings": 2}, 3136 + 2048, 0.2152),
        ({"num_queries": 12}, 2352 + 1792, 0.1721),
        ({"structure_channels": 8}, 6272 + 1792, 0.3348),
    ],
)
def test_compression_rates_are_the_papers(changes, values, rate):
    geometry = LatentGeometry.of(VidTwinConfig(**changes))
    assert geometry.values == values
    assert f"{geometry.rate:.4%}" == f"{rate}%"


def test_rates_of_other_tokenizers_are_those_their_strides_give():
    cv_vae = LatentGeometry((16, 256, 256), ((4, 4, 32, 32),))
    assert cv_vae.rate == 4 / 768
    cmd = LatentGeometry((16, 224, 224), ((3, 224, 224), (32, 14), (32, 14)))
    assert cmd.rate == pytest.approx(1 / 16 + 2 * 14 * 32 / (3 * 16 * 224**2))


def test_flops_of_a_block_stack_are_the_formula():
    (t, h, w), d, depth = (4, 6, 6), 32, 3
    with torch.device("meta"):
        stack, x = Transformer((t, h, w), d, depth, 4), torch.empty(2, t, h, w, d)
        forward = count_flops(lambda: stack(x))
        training = count_flops(lambda: stack(x).sum().backward())
    n = 2 * t * h * w
    products = 2 * n * d * d * (2 * (3 + 1) + 2 * 4)  # both attentions' qkv and output, MLP
    space, time = 4 * n * (h * w) * d, 4 * n * t * d
    assert forward == depth * (products + space + time)
    # Twice as much again, but for the input's gradient and the attentions' recomputed scores.
    assert 2.9 * forward < training < 3.2 * forward


def test_traced_memory_is_the_other_trackers():
    def build():
        return nn.Sequential(
            nn.Conv3d(3, 8, 3), nn.GELU(), nn.Flatten(), nn.Linear(8 * 2 * 6 * 6, 50), nn.LayerNorm(50)
        )

    def loss(model):
        return model(torch.empty(5, 3, 4, 8, 8)).square().mean()

    tracker = MemTracker()
    with FakeTensorMode(), torch.device("cpu"), tracker:
        model = build()
        optimizer = torch.optim.Adam(model.parameters(), foreach=False)
        for _ in range(2):
            loss(model).backward()
            optimizer.step()
            optimizer.zero_grad()
            tracker.reset_mod_stats()
    (expected,) = (snapshot["Total"] for snapshot in tracker.get_tracker_snapshot("peak").values())
    assert traced_memory(build, loss) == expected


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_traced_memory_is_close_to_the_allocators():
    from eval.measures.counting import measured_memory

    def build():
        return nn.Sequential(nn.Linear(2048, 8192), nn.GELU(), nn.Linear(8192, 2048))

    def loss(model):
        return model(torch.empty(4096, 2048)).square().mean()

    assert traced_memory(build, loss) == pytest.approx(measured_memory(build, loss), rel=0.05)


def test_a_samples_flops_count_steps_and_guidance():
    config = DiTConfig(
        structure_shape=(4, 2, 3, 3), dynamics_shape=(4, 4, 6), num_classes=3, width=32, depth=2, num_heads=2
    )

    def cost(**diffusion):
        return generator_cost(config, (4, 24, 24), DiffusionConfig(**diffusion))

    once = cost(sample_steps=1, guidance=1.0).sample_flops
    assert cost(sample_steps=50, guidance=1.0).sample_flops == 50 * once
    assert cost(sample_steps=50, guidance=5.0).sample_flops == pytest.approx(100 * once, rel=0.01)
    # Heun's method evaluates twice a step, once in the last.
    assert cost(objective="flow", sample_steps=25, guidance=1.0).sample_flops == 49 * once
    assert cost(sample_steps=1).tokens == 1 * 2 * 2 + 2 * 3  # patches of two, the last ones filled up


@pytest.mark.parametrize("name", ["paper", "modern", "long"])
def test_every_recipe_has_a_cost(name):
    """With a time for each latent, too, and the window before."""
    config = load(
        Stage2Config, CONFIGS / f"stage2/{name}.yaml", ["--model.width=64", "--model.depth=1", "--model.num_heads=2"]
    )
    fields, video = on_latents(config, CONFIGS / "stage1/base.yaml", 3)
    assert (fields.times, fields.context) == (config.diffusion.times, config.diffusion.context > 0)
    assert generator_cost(fields, video, config.diffusion).training_flops > 0


def test_the_script_writes_table_json_and_picture(tmp_path, capsys):
    out, picture = tmp_path / "cost" / "cost.json", tmp_path / "cost" / "cost.png"
    configs = [str(CONFIGS / "stage1" / "demo.yaml"), str(CONFIGS / "stage2" / "demo.yaml")]
    assert main([*configs, "--output", str(out), "--plot", str(picture)]) == 0
    autoencoder, generator = json.loads(out.read_text())
    assert autoencoder["name"] == "stage1/demo"
    assert autoencoder["encode_flops"] > 0
    assert autoencoder["sample_flops"] is None
    assert generator["sample_flops"] > generator["training_flops"] > 0
    assert generator["latent_values"] == autoencoder["latent_values"]
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "training memory" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no configuration"),
        ("nothing: 1", "has no section model"),
        ("model: {breadth: 3}", "breadth"),
        ("model: {width: 64}\ndiffusion: {}\ncache: nowhere", "--autoencoder"),
        ("model: [", "is not YAML"),
    ],
)
def test_a_mistake_is_one_line_and_code_2(tmp_path, capsys, content, message):
    path = tmp_path / "config.yaml"
    if content is not None:
        path.write_text(content)
    assert main([str(path)]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert message in said[0]


@pytest.mark.parametrize(("number", "text"), [(7, "7 "), (1.234e12, "1.23 T"), (999, "999 "), (4.5e16, "45 P")])
def test_numbers_read_in_powers_of_a_thousand(number, text):
    assert scaled(number) == text
