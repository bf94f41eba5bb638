"""What a run reports: the console line, `metrics.jsonl`, TensorBoard, and W&B by one setting."""

import hashlib
import json
import warnings
from pathlib import Path

from torch import Tensor

from runtime.errors import UserError
from runtime.files import write_text
from runtime.progress import Progress


class Tracker:
    """Writes numbers and videos of the main process's run; silent on the others.

    A resumed run passes the step it starts from: later lines of `metrics.jsonl` are dropped, so that the file
    reads as if nothing had happened.
    """

    def __init__(self, folder: Path, start_step: int, progress: Progress, active: bool, wandb: str = "") -> None:
        self.progress, self.active, self.wandb = progress, active, None
        if not active:
            return
        self.path = folder / "metrics.jsonl"
        drop_lines_after(self.path, start_step)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from torch.utils.tensorboard import SummaryWriter
        self.board = SummaryWriter(folder / "tensorboard", purge_step=start_step)
        if wandb:
            self.wandb = start_wandb(wandb, folder)

    def log(self, step: int, values: dict[str, float]) -> None:
        """One line of `metrics.jsonl` and one point on each curve."""
        if not self.active:
            return
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        for name, value in values.items():
            self.board.add_scalar(name, value, step)
        if self.wandb:
            self.wandb.log(values, step=step)

    def video(self, step: int, name: str, frames: Tensor, fps: float) -> None:
        """`t h w c` uint8 to TensorBoard's image tab, as a strip of its frames."""
        if self.active:
            strip = frames[:: max(len(frames) // 8, 1)]
            self.board.add_images(name, strip, step, dataformats="NHWC")

    def histogram(self, step: int, name: str, values: Tensor) -> None:
        """How `values` are distributed, to TensorBoard; nothing for a latent without channels."""
        if self.active and values.numel():
            self.board.add_histogram(name, values.float().cpu(), step)

    def close(self) -> None:
        if self.active:
            self.board.close()
            if self.wandb:
                self.wandb.finish()


def start_wandb(project: str, folder: Path) -> object:
    """The W&B run of a run's folder, continued when there is one. Raises `UserError` without the package."""
    try:
        import wandb
    except ImportError as error:
        raise UserError("--loop.wandb needs the package wandb: .venv/bin/pip install wandb") from error
    name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    return wandb.init(project=project, id=name, name=folder.name, dir=folder, resume="allow")


def drop_lines_after(path: Path, step: int) -> None:
    """Keep the lines of `metrics.jsonl` up to `step`; a line cut short by a crash goes too."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text().splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except json.JSONDecodeError:
            break
    write_text(path, "".join(kept))
