"""A small 3-D CNN that tells the motion classes of a data set apart, and what it says of videos.

`python -m eval.classifier DATA --out DIR` trains one on the training split and prints its accuracy on the test split.
Its features give a Fréchet distance of their own, which is no FVD and is never called so.
"""

import copy
import hashlib
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from safetensors.torch import load_file
from torch import Tensor, nn

from data.clips import ClipDataset
from data.config import DataConfig
from data.index import UNLABELLED, open_index
from data.video.frames import to_float
from eval.measures.augmentation import augment
from eval.metrics.gaussian import Gaussian, frechet_distance, gaussian, merged, moments
from runtime import distributed
from runtime.errors import UserError
from runtime.files import write_json
from runtime.options import OptionParser
from runtime.progress import Progress
from runtime.random import generator, seed_of
from runtime.script import script
from runtime.tensors import save_tensors

RESOLUTION = 32
BATCH = 40
WEIGHTS, RECORD = "classifier.safetensors", "classifier.json"


@dataclass(frozen=True)
class TrainingConfig:
    """How a classifier is trained. The defaults take half a minute on two cores.

    Attributes:
        windows: random windows in time taken of each video.
        steps: optimizer steps, under a one-cycle schedule that peaks at `lr`.
        shift: largest shift of a clip in either direction, in pixels of 32.
    """

    windows: int = 12
    steps: int = 700
    batch_size: int = 20
    lr: float = 5e-3
    weight_decay: float = 0.05
    shift: int = 3
    seed: int = 0


class MotionClassifier(nn.Module):
    """Videos `b c t h w` in [-1, 1], of any size and length, to logits `b k`.

    It sees, at 32×32, the frames, what differs from the clip's mean frame, and what changed since the frame before.
    """

    def __init__(self, num_classes: int, width: int = 16) -> None:
        super().__init__()
        self.num_classes, self.width = num_classes, width
        body = nn.Sequential(
            convolution(9, width, (1, 2, 2)),
            convolution(width, 2 * width, (2, 2, 2)),
            convolution(2 * width, 4 * width, (2, 2, 2)),
            convolution(4 * width, 4 * width, (2, 2, 2)),
        )
        self.body = body.to(memory_format=torch.channels_last_3d)  # halves the backward pass on a CPU
        self.head = nn.Linear(4 * width, num_classes)

    @property
    def dim(self) -> int:
        """Length of a feature vector."""
        return self.head.in_features

    def features(self, video: Tensor) -> Tensor:
        """`b c t h w` to the features before the last layer, `b d`."""
        return reduce(self.body(motion_views(resize(video))), "b d t h w -> b d", "mean")

    def forward(self, video: Tensor) -> Tensor:
        return self.head(self.features(video))


def convolution(inputs: int, outputs: int, stride: tuple[int, int, int]) -> nn.Sequential:
    conv = nn.Conv3d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm3d(outputs), nn.ReLU())


def resize(video: Tensor) -> Tensor:
    """`b c t h w`, float or uint8, to 32×32 frames (bilinear, antialiased)."""
    if video.shape[-2:] == (RESOLUTION, RESOLUTION):
        return video
    frames = rearrange(video, "b c t h w -> (b t) c h w")
    small = F.interpolate(frames, (RESOLUTION, RESOLUTION), mode="bilinear", antialias=True)
    return rearrange(small, "(b t) c h w -> b c t h w", b=len(video))


def motion_views(video: Tensor) -> Tensor:
    """Frames, difference to the mean frame, difference to the previous frame: `b 3c t h w`, of like scale."""
    to_mean = video - reduce(video, "b c t h w -> b c 1 h w", "mean")
    to_previous = F.pad(video.diff(dim=2), (0, 0, 0, 0, 1, 0))
    return torch.cat([video, 2 * to_mean, 4 * to_previous], dim=1)


def train_classifier(
    clips: Tensor, labels: Tensor, num_classes: int, config: TrainingConfig = TrainingConfig()
) -> MotionClassifier:
    """Train on uint8 clips `n c t h w` and their labels `n`; equal arguments give equal weights on one machine.

    Augmented by small shifts, mirror images and other colours (see `augment`).
    """
    device, numbers = distributed.device(), generator("classifier batches", config.seed)
    clips = torch.cat([resize(part) for part in clips.split(BATCH)])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of("classifier weights", config.seed))
        model = MotionClassifier(num_classes).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), config.lr, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.lr, total_steps=config.steps)
    progress = Progress("classifier", config.steps, "steps")
    for _ in range(config.steps):
        chosen = torch.randint(len(clips), (config.batch_size,), generator=numbers)
        video = augment(to_float(clips[chosen]), config.shift, numbers).to(device)
        loss = F.cross_entropy(model(video), labels[chosen].to(device), label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        progress.advance(details=f"loss {loss.item():.3f}")
    return model.eval()


@torch.inference_mode()
def predict(model: MotionClassifier, videos: Tensor) -> Tensor:
    """The classes of uint8 videos `n c t h w`, `n`."""
    device = model.head.weight.device
    return torch.cat([model(to_float(part.to(device))).argmax(1).cpu() for part in videos.split(BATCH)])


def accuracy(model: MotionClassifier, videos: Tensor, labels: Tensor) -> float:
    """Share of the uint8 videos `n c t h w` that the classifier puts in the class `labels` says."""
    return (predict(model, videos) == labels).double().mean().item()


def classifier_frechet(model: MotionClassifier, a: Tensor, b: Tensor) -> float:
    """The Fréchet distance of two sets of uint8 videos `n c t h w` in the classifier's features (no FVD)."""
    return frechet_distance(fitted(model, a), fitted(model, b))


@torch.inference_mode()
def fitted(model: MotionClassifier, videos: Tensor) -> Gaussian:
    """Fitted to the features of uint8 videos `n c t h w`. Raises `UserError` for fewer than two."""
    device = model.head.weight.device
    parts = [moments(model.features(to_float(part.to(device))).cpu()) for part in videos.split(BATCH)]
    return gaussian(merged(torch.stack(parts)))


def save_classifier(model: MotionClassifier, folder: Path, **record: object) -> None:
    """Write weights and record; the record, written last, says that both are whole."""
    folder.mkdir(parents=True, exist_ok=True)
    save_tensors(folder / WEIGHTS, {name: tensor.contiguous() for name, tensor in model.state_dict().items()})
    write_json(folder / RECORD, {"num_classes": model.num_classes, "width": model.width, **record})


def load_classifier(folder: str | Path) -> MotionClassifier:
    """A classifier that `save_classifier` wrote. Raises `UserError` when there is none."""
    folder = Path(folder)
    if not (folder / RECORD).is_file():
        raise UserError(f"{folder} holds no classifier; train one with python -m eval.classifier DATA --out {folder}")
    record = json.loads((folder / RECORD).read_text())
    model = MotionClassifier(record["num_classes"], record["width"])
    model.load_state_dict(load_file(folder / WEIGHTS))
    return model.to(distributed.device()).eval()


def load_or_train(
    train: ClipDataset, test: ClipDataset, folder: Path, config: TrainingConfig = TrainingConfig()
) -> MotionClassifier:
    """The classifier in `folder` if it was made of this data with these settings, otherwise a new one, saved there.

    Raises:
        UserError: the data set has no classes.
    """
    if UNLABELLED in train.index.labels:
        raise UserError("a classifier needs a data set with classes, such as UCF-101")
    made_of = {"training": asdict(config), "data": fingerprint(train)}
    record = folder / RECORD
    if record.is_file() and json.loads(record.read_text()).get("made_of") == made_of:
        return load_classifier(folder)
    clips, labels = collect(random_windows(train), config.windows)
    model = train_classifier(clips, labels, len(train.index.classes), config)
    save_classifier(model, folder, made_of=made_of, test_accuracy=accuracy(model, *collect(test, 1)))
    return model


def random_windows(clips: ClipDataset) -> ClipDataset:
    """The same videos, in the same memory, with windows drawn as in training."""
    drawn = copy.copy(clips)
    drawn.train = True
    return drawn


def collect(clips: ClipDataset, windows: int) -> tuple[Tensor, Tensor]:
    """`windows` clips of every video at 32×32, uint8 `n c t h w`, and their labels `n`."""
    items = [clips[epoch, i] for epoch in range(windows) for i in range(len(clips))]
    videos = torch.cat([resize(item["video"][None]) for item in items])
    return videos, torch.tensor([item["label"] for item in items])


def fingerprint(clips: ClipDataset) -> str:
    """Names the videos of a data set and the way clips are taken of them."""
    settings = clips.frames, clips.fps, clips.size, clips.seed
    named = [(name, video.frames) for name, video in zip(clips.index.names, clips.index.videos, strict=True)]
    return hashlib.sha256(json.dumps([settings, named]).encode()).hexdigest()


@script
def main(argv: list[str]) -> None:
    parser = OptionParser(description="Train the motion classifier of a data set.")
    parser.add_argument("data", help="a folder with UCF-101/ and ucfTrainTestlist/")
    parser.add_argument("--out", type=Path, required=True, help="where the classifier is kept")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--fps", type=float, default=DataConfig().fps)
    parser.add_argument("--size", type=int, default=48, help="height and width at which videos are kept in memory")
    parser.add_argument("--steps", type=int, default=TrainingConfig().steps)
    parser.add_argument("--seed", type=int, default=TrainingConfig().seed)
    args = parser.parse_args(argv)
    size = (args.size, args.size)
    indices = (open_index(args.data, split, cache=args.out) for split in ("train", "test"))
    train, test = (ClipDataset(each, args.frames, args.fps, size, 0, train=False, in_memory=True) for each in indices)
    load_or_train(train, test, args.out, TrainingConfig(steps=args.steps, seed=args.seed))
    share = json.loads((args.out / RECORD).read_text())["test_accuracy"]
    print(f"{args.out}: right on {share:.1%} of {len(test)} test videos (chance {1 / len(test.index.classes):.0%})")


if __name__ == "__main__":
    sys.exit(main())
