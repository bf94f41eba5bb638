"""The model card of a generator, as the Hugging Face Hub reads it: front matter, then what a user has to know."""

import json
from collections.abc import Iterator
from pathlib import Path

from torch import nn

from autoencoder.stage1.config import Stage1Config
from generator.diffusion.schedulers import name_of
from generator.pipeline import VidTwinPipeline
from generator.stage2 import Stage2Config
from runtime.config import load

UNSTATED = (
    "Not stated. Weights follow the data that they were trained on: name the licence that it allows with `--licence` "
    "before you publish them."
)

CARD = """---
license: {licence}
library_name: diffusers
tags:
- video-generation
- class-conditional
- latent-diffusion
- vidtwin
---

# {name}

Class-conditional video generation with twin latents: a diffusion transformer draws the structure latent and the
dynamics latent of VidTwin ([arXiv 2412.17726](https://arxiv.org/abs/2412.17726)), whose decoder makes a video of them.

## How to use it

The models are those of the VidTwin stack, which must be installed (`pip install -e .` in its folder).

```python
from generator.pipeline import VidTwinPipeline

pipeline = VidTwinPipeline.from_pretrained("{name}")
videos = pipeline(class_labels=["{example}"], output_type="np").frames  # b t h w c in [0, 1]
```

Classes: {classes}.

## Sizes

{sizes}

## Training

{training}

## Figures

{figures}

## Limits

It makes clips of {clip} of the classes above and knows nothing else. It repeats what its training videos show, with
what is one-sided or wrong in them. The figures are of one run; where none is of generated videos, how good these are
was not measured.

## Licence

The code is under the MIT licence. Weights: {weights_licence}
"""


def model_card(run: Path, pipeline: VidTwinPipeline, licence: str | None, name: str) -> str:
    """Of a finished run of stage two and the pipeline that it left."""
    config, size = load(Stage2Config, run / "config.yaml"), pipeline.autoencoder.typed_config
    classes = pipeline.config.classes
    return CARD.format(
        licence=licence or "other",
        weights_licence=f"{licence}." if licence else UNSTATED,
        name=name,
        example=classes[0],
        classes=", ".join(classes),
        sizes=table(sizes(pipeline)),
        training=table(training(run, config, pipeline)),
        figures=table(figures(run)),
        clip=f"{size.frames} frames of {size.height}×{size.width} at {pipeline.config.fps:g} fps",
    )


def sizes(pipeline: VidTwinPipeline) -> Iterator[tuple[str, str]]:
    model, autoencoder = pipeline.transformer, pipeline.autoencoder
    yield "transformer", f"{parameters(model):,} parameters, {model.config.depth} layers of width {model.config.width}"
    yield "autoencoder", f"{parameters(autoencoder):,} parameters"
    yield "weights", f"{str(model.dtype).removeprefix('torch.')}; the statistics of the latents are float32"
    yield "structure latent", "×".join(map(str, model.layout.structure_shape))
    yield "dynamics latent", "×".join(map(str, model.layout.dynamics_shape))


def training(run: Path, config: Stage2Config, pipeline: VidTwinPipeline) -> Iterator[tuple[str, str]]:
    told = json.loads((run / "training.json").read_text())
    environment = json.loads((run / "environment.json").read_text())
    stage1 = Path(config.cache).parents[1] / "config.yaml"
    if stage1.is_file():
        yield "data", Path(load(Stage1Config, stage1).data.root).name
    yield "objective", config.diffusion.objective
    yield "steps", f"{told['steps']:,} of {config.loop.batch_size} clips"
    yield "optimizer", f"{config.optimizer.name}, learning rate {config.optimizer.lr:g}"
    yield "precision", config.engine.precision
    yield (
        "sampled by",
        (
            f"{name_of(pipeline.scheduler)}, {pipeline.config.num_inference_steps} steps, "
            f"guidance {pipeline.config.guidance_scale:g}"
        ),
    )
    yield "commit", environment["commit"]
    yield "made with", ", ".join(f"{name} {version}" for name, version in environment["packages"].items())


def figures(run: Path) -> Iterator[tuple[str, str]]:
    """The last losses, and every number of the run's evaluation and of that of the run around it."""
    last: dict[str, float] = {}
    for line in (run / "metrics.jsonl").read_text().splitlines():
        last.update(json.loads(line))
    for name in ("loss", "structure", "dynamics"):
        yield f"training: {name}", f"{last[name]:.4g}"
    for folder in (run, run.parent):
        for file in sorted((folder / "evaluation").glob("*.json")):
            yield from (
                (f"{file.stem}: {name}", f"{value:.4g}") for name, value in leaves(json.loads(file.read_text()))
            )


def leaves(content: object, name: str = "") -> Iterator[tuple[str, float]]:
    """The numbers of nested tables, with the names that lead to them."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield from leaves(value, f"{name} {key}".strip())
    elif isinstance(content, int | float) and not isinstance(content, bool):
        yield name, content


def parameters(model: nn.Module) -> int:
    return sum(each.numel() for each in model.parameters())


def table(rows: Iterator[tuple[str, str]]) -> str:
    return "\n".join(["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)])
