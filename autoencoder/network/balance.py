"""An initialisation under which both twins are heard from the first step. Ours, not the paper's (docs/training.md)."""

import torch
from torch import nn

from autoencoder.network.dynamics import DynamicsExtractor
from autoencoder.network.qformer import QFormer
from autoencoder.network.structure import StructureExpander, StructureExtractor

QUIET = -4.0  # noise of a seventh, beside means of about one


@torch.no_grad()
def balance(*parts: nn.Module) -> None:
    """He's initialisation (arXiv 1502.01852) of what takes features to latents and back, but for Q-Formers.

    Who carries what is decided by how loud each twin is at the start. PyTorch's default for convolutions weakens the
    signal at every layer: u_S differs between clips by a tenth of what u_D does, and both drown in the posterior's
    noise. And maps from queries to frames of random sign leave ReLU nothing in many a frame, for good where queries are
    few; here every frame begins as the mean of the queries. Log-variances begin at `QUIET`, whatever the clip.
    """
    for part in parts:
        within = {id(each) for module in part.modules() if isinstance(module, QFormer) for each in module.modules()}
        for module in part.modules():
            if isinstance(module, nn.Conv2d | nn.Linear) and id(module) not in within:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)
        if isinstance(part, StructureExtractor | DynamicsExtractor):
            (_, weight), (_, bias) = part.conv_out.weight.chunk(2), part.conv_out.bias.chunk(2)
            nn.init.zeros_(weight)
            nn.init.constant_(bias, QUIET)
        if isinstance(part, StructureExpander):
            nn.init.constant_(part.queries_to_frames.weight, 1 / part.queries_to_frames.in_channels)
            nn.init.zeros_(part.queries_to_frames.bias)
