"""The authors' released checkpoint <-> our VidTwin, tensor by tensor.

`python -m autoencoder.release SOURCE TARGET` converts a released `.ckpt` or `.safetensors` to a diffusers folder, and
a diffusers folder to a released `.ckpt` or `.safetensors`.
"""

import math
import pickle
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from autoencoder.config import VidTwinConfig
from autoencoder.model import VidTwin
from runtime.errors import UserError
from runtime.options import OptionParser
from runtime.script import script
from runtime.tensors import save_tensors
from runtime.weights import load_model, save_model

LOSS_PREFIX = "loss."
CHECKPOINT_SUFFIXES = (".safetensors", ".ckpt")

# Our name on the left, the release's on the right; `#` stands for a number that both share. The release counts the
# layers without parameters, too: ReLU after each halving, ReLU and upsampling after each doubling.
NAMES = {
    "encoder.transformer.space_positions": "encoder.pos_embed",
    "encoder.transformer.time_positions": "encoder.pos_embed_temporal",
    "encoder.transformer.blocks.#": "encoder.blocks.#",
    "encoder.patchify": "encoder.x_embedder",
    "decoder.transformer.space_positions": "decoder.pos_embed",
    "decoder.transformer.time_positions": "decoder.pos_embed_temporal",
    "decoder.transformer.blocks.#": "decoder.blocks.#",
    "decoder.unpatchify.linear": "decoder.final_layer.linear",
    "decoder.unpatchify.modulation": "decoder.final_layer.scale_shift_table",
    "unused.encoder_head_modulation": "encoder.final_layer.scale_shift_table",
    "unused.encoder_head_weight": "encoder.final_layer.linear.weight",
    "unused.encoder_head_bias": "encoder.final_layer.linear.bias",
    "unused.decoder_patch_weight": "decoder.x_embedder.proj.weight",
    "unused.decoder_patch_bias": "decoder.x_embedder.proj.bias",
    "extract_structure.summary.qformer.queries": "temporal_qformer.query_embeds",
    "extract_structure.summary.qformer.norm": "temporal_qformer.qformer.layernorm",
    "extract_structure.summary.qformer.layers.#": "temporal_qformer.qformer.encoder.layer.#",
    "extract_structure.conv_in": "conv_in",
    "extract_structure.halvings.#": "content_downsample_blocks.2#",
    "extract_structure.conv_out": "bottle_down",
    "expand_structure.conv_in": "bottle_up.0",
    "expand_structure.doublings.#": "content_upsample_blocks.3#",
    "expand_structure.conv_out": "conv_out",
    "expand_structure.widen": "cont_emb.0",
    "expand_structure.queries_to_frames": "cont_emb.2",
    "extract_dynamics.halvings.#": "downsample_motion_module.2#",
    "extract_dynamics.conv_out": "motion_head",
    "expand_dynamics.widen": "motion_emb",
    "expand_dynamics.lengthen.0": "up_motion",
}
# The same, for what stands behind a block or a Q-Former layer.
INNER_NAMES = {
    "modulation": "scale_shift_table",
    "space": "attn",
    "time": "attn_temp",
    "self_attention": "attention",
    "cross_attention": "crossattention",
    "up": "intermediate_query.dense",
    "down": "output_query.dense",
    "norm": "output_query.LayerNorm",
}
QFORMER_ATTENTION_NAMES = {
    "query": "attention.query",
    "key": "attention.key",
    "value": "attention.value",
    "out": "output.dense",
    "norm": "output.LayerNorm",
}


def renamed(name: str, table: Mapping[str, str]) -> str:
    """`name` with the longest prefix that the table knows replaced; unchanged where it knows none."""
    for ours, theirs in sorted(table.items(), key=lambda row: -len(row[0])):
        pattern = re.escape(ours).replace(r"\#", r"(\d+)") + r"(?=\.|$)"
        if match := re.match(pattern, name):
            return numbered(theirs, match.groups()) + name[match.end() :]
    return name


def numbered(name: str, numbers: tuple[str, ...]) -> str:
    """`name` with its `#`, or a multiple of it such as `2#`, replaced by the number."""
    return re.sub(r"(\d*)#", lambda multiple: str(int(multiple[1] or 1) * int(numbers[0])), name)


def release_name(name: str) -> str:
    """The released checkpoint's name of one of our tensors."""
    layer = re.match(r"(.*\.(?:blocks|layers)\.\d+)\.(.*)", name)
    if layer is None:
        return renamed(name, NAMES)
    outer, inner = layer.groups()
    if attention := re.match(r"((?:self|cross)_attention)\.(.*)", inner):
        kind, rest = attention.groups()
        return f"{renamed(outer, NAMES)}.{INNER_NAMES[kind]}.{renamed(rest, QFORMER_ATTENTION_NAMES)}"
    return f"{renamed(outer, NAMES)}.{renamed(inner, INNER_NAMES)}"


def to_release(model: VidTwin) -> dict[str, Tensor]:
    """The model's tensors under the released checkpoint's names and in its shapes.

    Raises `UserError` for an ablation, patches that overlap and a grid that is not square: the release has no format
    for them.
    """
    config = model.typed_config
    for part, released in (("structure", "qformer"), ("dynamics", "averages"), ("overlap", 0)):
        if (found := getattr(config, part)) != released:
            raise UserError(
                f"the released format knows {part} {released} only, not {part} {found}; save it with diffusers"
            )
    _, h, w = config.grid
    if h != w:
        raise UserError(f"the released format knows square grids only, this model's is {h}x{w}; save it with diffusers")
    return {release_name(name): tensor for name, tensor in model.state_dict().items()}


def from_release(state_dict: Mapping[str, Tensor], num_heads: int = 12) -> VidTwin:
    """A float32 VidTwin in eval mode with every tensor of a released checkpoint.

    The geometry is read from the tensors' shapes (square grid); only names that start with `loss.` are
    skipped. Raises `UserError` that names the first missing, extra or misshapen tensor.
    """
    tensors = {name: tensor for name, tensor in state_dict.items() if not name.startswith(LOSS_PREFIX)}
    model = VidTwin.from_config_fields(read_config(tensors, num_heads))
    ours = {release_name(name): name for name in model.state_dict()}
    check_names_and_shapes(tensors, {name: model.state_dict()[ours[name]].shape for name in ours})
    model.load_state_dict({ours[name]: tensor for name, tensor in tensors.items()}, strict=True)
    return model.float().eval()


def check_names_and_shapes(tensors: Mapping[str, Tensor], expected: Mapping[str, torch.Size]) -> None:
    problems = [
        f"{problem} {min(names)}" + (f" (and {len(names) - 1} more)" * (len(names) > 1))
        for problem, names in (
            ("lacks the tensor", expected.keys() - tensors.keys()),
            ("has an unknown tensor", tensors.keys() - expected.keys()),
        )
        if names
    ]
    if problems:
        raise UserError(f"the checkpoint {' and '.join(problems)}")
    for name, shape in expected.items():
        if tensors[name].shape != shape:
            raise UserError(f"the checkpoint's {name} has shape {tuple(tensors[name].shape)}, expected {tuple(shape)}")


def read_config(tensors: Mapping[str, Tensor], num_heads: int = 12) -> VidTwinConfig:
    """The sizes that a released checkpoint's shapes imply."""

    def shape(name: str) -> torch.Size:
        if name not in tensors:
            raise UserError(f"the checkpoint lacks the tensor {name}; is it a VidTwin checkpoint?")
        return tensors[name].shape

    def count(pattern: str) -> int:
        return len({match.group(1) for name in tensors if (match := re.match(pattern, name))})

    dim, _, *patch = shape("encoder.x_embedder.proj.weight")
    positions = shape("encoder.pos_embed")[1]
    side = math.isqrt(positions)
    if side * side != positions:
        raise UserError(f"the checkpoint's encoder.pos_embed has {positions} positions, which is no square grid")
    return VidTwinConfig(
        frames=shape("encoder.pos_embed_temporal")[1] * patch[0],
        height=side * patch[1],
        width=side * patch[2],
        patch=tuple(patch),
        dim=dim,
        encoder_depth=count(r"encoder\.blocks\.(\d+)\."),
        decoder_depth=count(r"decoder\.blocks\.(\d+)\."),
        num_heads=num_heads,
        num_queries=shape("temporal_qformer.query_embeds")[0],
        query_dim=shape("temporal_qformer.query_embeds")[1],
        qformer_depth=count(r"temporal_qformer\.qformer\.encoder\.layer\.(\d+)\."),
        qformer_hidden=shape("temporal_qformer.qformer.encoder.layer.0.intermediate_query.dense.weight")[0],
        structure_channels=shape("bottle_up.0.weight")[1],
        structure_conv_dim=shape("conv_in.weight")[0],
        structure_halvings=count(r"content_downsample_blocks\.(\d+)\."),
        dynamics_channels=shape("motion_emb.0.weight")[1],
        dynamics_halvings=count(r"downsample_motion_module\.(\d+)\."),
    )


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The state dict in a `.safetensors` file or a (possibly Lightning) `.ckpt`, never running its pickle."""
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, OSError, ValueError, EOFError) as error:
        raise UserError(f"{path} cannot be read as a checkpoint: {str(error).splitlines()[0]}") from error
    except Exception as error:
        if type(error).__name__ == "SafetensorError":
            raise UserError(f"{path} cannot be read as a checkpoint: {error}") from error
        raise
    return content.get("state_dict", content)


def write_checkpoint(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """A `.safetensors` file, or a `.ckpt` as Lightning's with the tensors under `state_dict`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        save_tensors(path, dict(tensors))
        return
    partial = path.with_name(f".{path.name}.partial")
    torch.save({"state_dict": dict(tensors)}, partial)
    partial.replace(path)


def import_release(checkpoint: Path, folder: Path, num_heads: int) -> VidTwin:
    model = from_release(read_checkpoint(checkpoint), num_heads)
    folder.parent.mkdir(parents=True, exist_ok=True)
    save_model(model, folder)
    return model


def export_release(folder: Path, checkpoint: Path) -> VidTwin:
    if checkpoint.suffix not in CHECKPOINT_SUFFIXES:
        raise UserError(f"{checkpoint} must end in {' or '.join(CHECKPOINT_SUFFIXES)}")
    model = load_model(VidTwin, folder)
    write_checkpoint(checkpoint, to_release(model))
    return model


@script
def main(argv: list[str]) -> None:
    parser = OptionParser(
        description="Convert a released VidTwin checkpoint to a diffusers folder, or a diffusers folder to one."
    )
    parser.add_argument("source", type=Path, help="released .ckpt or .safetensors, or a folder with config.json")
    parser.add_argument("target", type=Path, help="folder to write, or .ckpt or .safetensors where SOURCE is a folder")
    parser.add_argument(
        "--num_heads", type=int, default=12, help="attention heads of a released checkpoint (default 12, as released)"
    )
    args = parser.parse_args(argv)
    if args.source.is_dir():
        model = export_release(args.source, args.target)
    else:
        model = import_release(args.source, args.target, args.num_heads)
    print(f"{args.target}: {sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters, {model.typed_config}")


if __name__ == "__main__":
    sys.exit(main())
