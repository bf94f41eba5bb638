"""What linear probes read off the latents of one clip, whatever video it is of."""

import json
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from autoencoder.model import VidTwin
from autoencoder.stage1.config import Stage1Config
from data.clips import ClipDataset
from data.config import Split
from data.index import open_index
from data.latents import TwinLatents
from data.synthetic.factors import read_factors
from eval.twins.factors import factors_of
from eval.twins.probes import fit_probes, open_caches, quality_of, read_latents
from eval.twins.ridge import Linear
from runtime.config import load
from runtime.errors import UserError
from runtime.progress import Track
from runtime.tensors import save_tensors
from runtime.weights import weights_hash

PROBES = "probes.safetensors"  # beside the weights of an autoencoder


@dataclass(frozen=True)
class Reader:
    """Probes of both latents that were fitted on a run's training clips.

    Attributes:
        fits: by latent and factor.
        quality: of each on the test clips: accuracy, or R² of numbers.
        classes: names of the data set's motions.
    """

    fits: dict[str, dict[str, Linear]]
    quality: dict[str, dict[str, float]]
    classes: tuple[str, ...]

    def __call__(self, latents: TwinLatents) -> dict[str, dict[str, Tensor]]:
        """What each latent of one clip says of each factor: scores of its classes, or its numbers."""
        rows = {name: latent.flatten(1).cpu() for name, latent in latents._asdict().items()}
        return {name: {factor: fit(rows[name])[0] for factor, fit in fits.items()} for name, fits in self.fits.items()}


def fit_reader(run: Path, model: VidTwin, track: Track) -> Reader:
    """Fit the probes on the run's cached latents.

    Raises `UserError` for a run without caches, of other weights, or on data whose factors nobody knows.
    """
    settings = load(Stage1Config, run / "config.yaml").data
    known = read_factors(Path(settings.root))
    if known is None:
        raise UserError(f"nobody knows the factors of {settings.root}: only those of the built-in data set are")
    size = model.typed_config
    splits: dict[Split, ClipDataset] = {}
    for split in ("train", "test"):
        index = open_index(settings.root, split, settings.fold, run)
        shape = size.height, size.width
        splits[split] = ClipDataset(index, size.frames, settings.fps, shape, 0, train=False, in_memory=False)
    caches = open_caches(run, {split: clips.index for split, clips in splits.items()})
    digest = weights_hash(model)
    for cache in caches.values():
        cache.require_autoencoder(digest)
    train, test = (read_latents(caches[split], clips, known) for split, clips in splits.items())
    factors, fits, quality = factors_of(known), {}, {}
    judges = quality_of(factors, train.targets)
    for latent in track(TwinLatents._fields, len(TwinLatents._fields), "fitting probes", "latents"):
        fits[latent] = fit_probes(train, latent, factors)
        found = {name: fit(test.inputs[latent]) for name, fit in fits[latent].items()}
        quality[latent] = {name: judge(found[name], test.targets[name]) for name, judge in judges.items()}
    return Reader(fits, quality, splits["train"].index.classes)


def save_reader(reader: Reader, folder: Path, model: VidTwin) -> Path:
    """Lay it, float32, beside the weights of the autoencoder whose latents it reads; the file that it makes."""
    tensors = {
        f"{latent}/{factor}/{part}": getattr(fit, part).float().contiguous()
        for latent, fits in reader.fits.items()
        for factor, fit in fits.items()
        for part in Linear.__dataclass_fields__
    }
    said = {"autoencoder": weights_hash(model), "classes": list(reader.classes), "quality": reader.quality}
    save_tensors(folder / PROBES, tensors, {"reader": json.dumps(said)})
    return folder / PROBES


def has_probes(folder: Path) -> bool:
    return (folder / PROBES).is_file()


def load_reader(folder: Path, model: VidTwin) -> Reader:
    """What `save_reader` laid there. Raises `UserError` for a file that cannot be read, or of other weights."""
    fits: dict[str, dict[str, Linear]] = {}
    try:
        with safe_open(folder / PROBES, "pt") as file:
            said = json.loads(file.metadata()["reader"])
            for latent, factors in said["quality"].items():
                fits[latent] = {name: _linear(file, f"{latent}/{name}") for name in factors}
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / PROBES} holds no probes: {error}") from error
    if said["autoencoder"] != weights_hash(model):
        raise UserError(f"{folder / PROBES} reads latents of other weights; make it again (python -m eval.probes)")
    return Reader(fits, said["quality"], tuple(said["classes"]))


def _linear(file: safe_open, name: str) -> Linear:
    return Linear(*(file.get_tensor(f"{name}/{part}").double() for part in Linear.__dataclass_fields__))
