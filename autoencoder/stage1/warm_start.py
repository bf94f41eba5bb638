"""A VidTwin that begins with trained weights, also with those of another clip length or size or a smaller decoder.

Weights that know nothing of the geometry are copied. The maps that do, from queries to frames and from shrunk axes
to whole ones, are stretched: places of the grid are interpolated, hidden units, which have no neighbours, repeated.
The fixed position tables stay the model's own. What a decoder has more begins as if it were not there: blocks with
closed gates, an overlap of zeros.
"""

import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from torch import Tensor

from autoencoder.config import VidTwinConfig
from autoencoder.model import VidTwin
from autoencoder.network.transformer import Unpatchify
from autoencoder.release import from_release, read_checkpoint
from runtime.errors import UserError
from runtime.weights import load_model

MAY_DIFFER = {"frames", "height", "width", "dropout"}
MAY_GROW = {"decoder_depth", "overlap"}
BOUND_TO_A_GRID = {"structure": {"conv_mlp", "wide_qformer"}, "dynamics": {"spatial_qformer"}}
POSITIONS = (".space_positions", ".time_positions")
Resampling = Callable[[int, int], Tensor]


def warm_start(model: VidTwin, source: str | Path) -> list[str]:
    """Give `model` the weights in `source`: a diffusers folder, or a released `.ckpt` or `.safetensors`.

    On the same grid of patches every tensor is copied exactly, and the model computes the same. Returns a line for each
    part that is new, and for each map that was stretched or left out. Raises `UserError` when the two differ in
    anything but frames, height, width and dropout, but for more blocks or more overlap in the decoder, or when an
    ablation ties the weights to their grid.
    """
    trained = read_source(Path(source), model.typed_config.num_heads)
    theirs, ours = trained.typed_config, model.typed_config
    require_same_sizes(theirs, ours, source)
    weights, lines = grown(trained, model)
    if theirs.grid != ours.grid:
        require_free_of_the_grid(theirs, ours, source)
        weights, stretched = fitted(weights, model.state_dict())
        lines += stretched
    model.load_state_dict(weights)
    return lines


def read_source(path: Path, num_heads: int) -> VidTwin:
    """The trained model. A released checkpoint does not tell its `num_heads`."""
    return load_model(VidTwin, path) if path.is_dir() else from_release(read_checkpoint(path), num_heads)


def require_same_sizes(theirs: VidTwinConfig, ours: VidTwinConfig, source: str | Path) -> None:
    for field, value in asdict(theirs).items():
        wanted = getattr(ours, field)
        if field in MAY_GROW and wanted > value:
            continue
        if field not in MAY_DIFFER and value != wanted:
            raise UserError(f"{source} has {field} {value} and this model has {field} {wanted}; make them the same")


def require_free_of_the_grid(theirs: VidTwinConfig, ours: VidTwinConfig, source: str | Path) -> None:
    for field, bound in BOUND_TO_A_GRID.items():
        if (value := getattr(ours, field)) in bound:
            raise UserError(
                f"{source} has the grid {theirs.grid} and this model has the grid {ours.grid}, to which "
                f"{field} {value} is bound; give both the same frames, height and width"
            )


def grown(trained: VidTwin, model: VidTwin) -> tuple[dict[str, Tensor], list[str]]:
    """The trained tensors with what the decoder of `model` has more, as yet without effect, and a line for each."""
    weights, lines = trained.state_dict(), []
    theirs, ours = trained.typed_config, model.typed_config
    for i in range(theirs.decoder_depth, ours.decoder_depth):
        prefix, block = f"decoder.transformer.blocks.{i}", model.decoder.transformer.blocks[i]
        block.close()
        weights |= {f"{prefix}.{name}": tensor for name, tensor in block.state_dict().items()}
        lines.append(f"{prefix}: new, with closed gates")
    if more := ours.overlap - theirs.overlap:
        linear = "decoder.unpatchify.linear"
        for name in (f"{linear}.weight", f"{linear}.bias"):
            weights[name] = overlapping(weights[name], trained.decoder.unpatchify, more)
        lines.append(f"{linear}: {more} pixels more on every side, which begin with zeros")
    return weights, lines


def overlapping(tensor: Tensor, unpatchify: Unpatchify, more: int) -> Tensor:
    """A bias `(p q r c)` or a weight `(p q r c) d` with as many rows and columns more on every side."""
    q, r = unpatchify.kernel
    drawn = rearrange(tensor, "(p q r c) ... -> ... c p q r", p=unpatchify.patch[0], q=q, r=r)
    return rearrange(F.pad(drawn, (more,) * 4), "... c p q r -> (p q r c) ...")


def fitted(trained: dict[str, Tensor], own: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """The trained tensors in the shapes of the model's own, and a line for each map that had to change."""
    weights, lines = {}, []
    for name, tensor in own.items():
        if name.endswith(POSITIONS):
            weights[name] = tensor
            continue
        # A square grid has one map for both axes.
        found = trained[name if name in trained else name.replace("lengthen.1.", "lengthen.0.")]
        weights[name] = found if found.shape == tensor.shape else stretch(found, tensor.shape, *axes_of(name))
        if found.shape != tensor.shape and name.endswith("weight"):
            old, new = ("x".join(map(str, shape)) for shape in (found.shape, tensor.shape))
            lines.append(f"{name.removesuffix('.weight')}: stretched from {old} to {new}")
    if trained.keys() - own.keys():
        lines.append("expand_dynamics.lengthen.1: left out, a square grid has one map for both axes")
    return weights, lines


def axes_of(name: str) -> tuple[Resampling, Resampling]:
    """How the outputs and the inputs of a map that knows the geometry change their number."""
    return next(axes for pattern, axes in STRETCHED.items() if re.match(pattern, name))


def stretch(tensor: Tensor, shape: torch.Size, outputs: Resampling, inputs: Resampling) -> Tensor:
    """A bias `out` or a weight `out in ...` with other numbers of outputs and inputs.

    The inputs that stand for a former one share its weight, so that the answer to a constant stays.
    """
    tensor = einsum(outputs(len(tensor), shape[0]), tensor, "new old, old ... -> new ...")
    if tensor.ndim == 1:
        return tensor
    shares = inputs(tensor.shape[1], shape[1])
    shares = (shares / shares.sum(0)).nan_to_num()  # fewer inputs may leave one without a heir
    return einsum(tensor, shares, "out old ..., new old -> out new ...")


def interpolated(old: int, new: int) -> Tensor:
    """`new old`: each of `new` places as a mean of its neighbours among `old`, over the same length."""
    return F.interpolate(torch.eye(old)[None], new, mode="linear")[0].T


def repeated(old: int, new: int) -> Tensor:
    """`new old`: each of `new` units is one of `old`, all of them in turn equally often as far as they go."""
    return torch.eye(old)[torch.arange(new) * old // new]


STRETCHED = {
    r"expand_structure\.queries_to_frames\.": (interpolated, repeated),
    r"expand_dynamics\.lengthen\.\d\.0\.": (repeated, interpolated),
    r"expand_dynamics\.lengthen\.\d\.2\.": (interpolated, repeated),
}
