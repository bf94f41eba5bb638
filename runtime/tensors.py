"""Named tensors in a safetensors file that is whole or not there."""

from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    partial = path.with_name(f".{path.name}.partial")
    save_file(tensors, partial, metadata)
    partial.replace(path)
