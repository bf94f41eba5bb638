"""Strips that take an autoencoder alone: clips taken apart, and joined anew."""

import torch
from einops import rearrange

from autoencoder.model import VidTwin
from autoencoder.trained.panels import PANELS, four_panels
from data.video.frames import to_uint8
from eval.gallery.clips import Clips
from eval.gallery.strip import Strip
from eval.twins.pictures import swap_table
from eval.twins.swaps import VidTwins

DONORS = 5
ROWS = ("reconstruction", "structure alone", "dynamics alone")  # below the originals


def taken_apart(model: VidTwin, clips: Clips) -> Strip:
    """A column for each clip: original, reconstruction, structure alone, dynamics alone."""
    panels = to_uint8(four_panels(model, clips.videos)).cpu()
    videos = rearrange(panels, "b c t h (k w) -> (k b) t h w c", k=len(PANELS))
    blank = [""] * (len(clips.titles) - 1)
    captions = [*clips.titles, *(word for name in ROWS for word in (name, *blank))]
    return Strip(videos, captions, len(clips.titles))


def swapped(model: VidTwin, clips: Clips) -> Strip:
    """A row for each clip's structure, a column for each clip's dynamics."""
    donors = to_uint8(clips.videos[:DONORS]).cpu()
    twins, places = VidTwins(model, donors), torch.arange(len(donors))
    return Strip(*swap_table(donors, clips.titles[:DONORS], twins, places), len(donors) + 1)
