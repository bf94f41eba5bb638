"""What a call of the pipeline may ask for: each check raises `UserError` with what is wrong and what to do."""

from collections.abc import Sequence
from typing import Literal, get_args

from diffusers import DiffusionPipeline
from torch import Tensor

from data.latents import TwinLatents
from generator.diffusion.solver import Order
from generator.tokens import TokenLayout
from runtime.errors import UserError

OutputType = Literal["pil", "np", "pt", "latent"]


def check_call(
    pipeline: DiffusionPipeline,
    windows: int,
    structure: Tensor | None,
    dynamics: Tensor | None,
    order: Order,
    output_type: OutputType,
    callback_inputs: Sequence[str],
) -> None:
    """Words that there are, and a use that the model was trained for."""
    model, given = pipeline.transformer.config, structure is not None or dynamics is not None
    for name, word, words in (("order", order, Order), ("output_type", output_type, OutputType)):
        if word not in get_args(words):
            raise UserError(f"there is no {name} {word}: choose {', '.join(get_args(words))}")
    if unknown := set(callback_inputs) - set(pipeline._callback_tensor_inputs):
        raise UserError(f"a callback is given {', '.join(pipeline._callback_tensor_inputs)}, no {unknown.pop()}")
    if structure is not None and dynamics is not None:
        raise UserError("structure and dynamics are both given: nothing is left to draw")
    if (given or order != "together") and model.times != "separate":
        raise UserError("this generator draws both latents together only; train one with --diffusion.times separate")
    if windows < 1:
        raise UserError(f"{windows} windows: a video has at least 1")
    if windows > 1 and not model.context:
        raise UserError("this generator knows one window only; train one with --diffusion.context 0.5")
    if windows > 1 and given:
        raise UserError("a latent that is given is of one window: draw one window for it")


def check_noise(noises: Sequence[TwinLatents], windows: int, count: int, layout: TokenLayout) -> None:
    """One for each window, of the model's geometry."""
    expected = [(count, *shape) for shape in (layout.structure_shape, layout.dynamics_shape)]
    found = [[tuple(getattr(latent, "shape", ())) for latent in noise] for noise in noises]
    if found != [expected] * windows:
        raise UserError(f"latents must be a list of {windows} pairs of shapes {expected[0]} and {expected[1]}")


def check_given(name: str, latent: Tensor, count: int, shape: tuple[int, ...]) -> None:
    """A latent of each video, or one for all."""
    if tuple(latent.shape) not in ((1, *shape), (count, *shape)):
        raise UserError(f"{name} of shape {tuple(latent.shape)} is given where {(count, *shape)} is needed")
