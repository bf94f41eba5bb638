"""Who does not train starts without DeepSpeed, and who only starts others without PyTorch."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WITHOUT_TRAINING = (
    "app.__main__",
    "app.examples",
    "app.maps",
    "app.parts",
    "app.readings",
    "app.samples",
    "app.swaps",
    "data.bench",
    "data.latents.cache",
    "data.shards.pack",
    "data.synthetic.dataset",
    "data.ucf101",
    "autoencoder.cache",
    "autoencoder.reconstruct",
    "autoencoder.release",
    "generator.sample",
    "generator.walk",
    "generator.export",
    "eval.classifier",
    "eval.generation.conditional",
    "eval.generation.continuation",
    "eval.cost",
    "eval.decoupling",
    "eval.fvd",
    "eval.gallery.__main__",
    "eval.pseudo_dit",
    "eval.reconstruction",
    "eval.report",
    "eval.generation.sweep",
)


@pytest.mark.parametrize(
    ("modules", "needless"),
    [
        (WITHOUT_TRAINING, ("deepspeed", "tensorboard", "wandb", "matplotlib.pyplot")),
        (
            ("autoencoder.cache", "autoencoder.reconstruct", "eval.reconstruction", "eval.report"),
            ("scipy", "torchvision"),
        ),
        (("eval.fvd", "eval.classifier", "data.bench", "data.latents.cache"), ("diffusers", "scipy", "torchvision")),
        (("eval.demo",), ("torch", "diffusers", "numpy")),
    ],
    ids=["what does not train", "what has no generator", "what has no model of ours", "the demo"],
)
def test_a_start_imports_only_what_it_needs(modules, needless):
    source = f"import sys, {', '.join(modules)}; print(*(name for name in {needless} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
