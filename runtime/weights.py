"""Self-describing weights: diffusers folders, loaded strictly, named by a hash."""

import hashlib
import shutil
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from runtime.errors import UserError

Model = TypeVar("Model", bound=nn.Module)


def load_model(model_class: type[Model], folder: str | Path) -> Model:
    """The diffusers model in `folder`, float32, in eval mode, with every tensor accounted for.

    Raises `UserError` when the folder is missing, of another class, or its tensors do not fit exactly.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder} holds no weights (no config.json); train first or give another --weights")
    try:
        model, report = model_class.from_pretrained(
            folder, output_loading_info=True, local_files_only=True, low_cpu_mem_usage=False, torch_dtype=torch.float32
        )
    except (OSError, RuntimeError, TypeError) as error:
        raise UserError(f"{folder} cannot be loaded as {model_class.__name__}: {str(error).splitlines()[0]}") from error
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if report[kind]:
            raise UserError(
                f"{folder} does not fit {model_class.__name__}: {kind.replace('_', ' ')} {report[kind][:3]}"
            )
    model.register_to_config(_name_or_path="")  # where it lay: would be saved, and so given away, with it
    return model.eval()


def save_model(model: nn.Module, folder: str | Path) -> None:
    """Write a diffusers folder beside its place and move it there."""
    folder = Path(folder)
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
    replace_folder(partial, folder)


def replace_folder(partial: Path, folder: Path) -> None:
    """Move `partial` to `folder`, whose old content is gone only once the new one stands there."""
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def weights_hash(model: nn.Module) -> str:
    """SHA-256 over names, shapes and values of the whole state, independent of how it was saved."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
