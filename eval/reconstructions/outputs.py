"""What is measured of a model: everything that it makes of a batch of clips, by name."""

from collections.abc import Callable

from torch import Tensor

from autoencoder.model import VidTwin
from eval.coders.coder import Coded, Coder

Outputs = Callable[[Tensor], dict[str, Coded]]

WHOLE = "reconstruction"
TWINS = (WHOLE, "structure", "dynamics")
TRIVIAL, REAL = "trivial", "real"


def of_twins(model: VidTwin) -> Outputs:
    """What the posterior mean decodes to, from both latents and from each alone (`TWINS`)."""

    def outputs(video: Tensor) -> dict[str, Coded]:
        latents = model.encode(video).mode()
        structure, dynamics = (latent[0].numel() for latent in latents)
        values = {WHOLE: structure + dynamics, "structure": structure, "dynamics": dynamics}
        parts = {WHOLE: "both", "structure": "structure", "dynamics": "dynamics"}
        return {name: Coded(model.decode(latents, parts[name]).clamp(-1, 1), values[name]) for name in TWINS}

    return outputs


def of_coder(coder: Coder) -> Outputs:
    """What comes back, whole (`WHOLE`)."""
    return lambda video: {WHOLE: coder(video)}


def of_nothing(video: Tensor) -> dict[str, Coded]:
    """The clip's own mean frame (`TRIVIAL`), which keeps no motion at all, and the clip itself (`REAL`)."""
    mean = video.mean(dim=2, keepdim=True)
    return {TRIVIAL: Coded(mean.expand_as(video), mean[0].numel()), REAL: Coded(video)}
