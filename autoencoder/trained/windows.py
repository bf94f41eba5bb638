"""Videos of any length through a model of one length: window by window, in constant memory."""

from collections.abc import Iterable, Iterator

import torch
from einops import rearrange
from torch import Tensor

from autoencoder.model import VidTwin
from data.clips import as_clip, choose_window
from data.video.frames import VideoInfo, fit, read_frames, to_float, to_uint8


def windows(frames: Iterable[Tensor], length: int) -> Iterator[tuple[Tensor, slice]]:
    """Cut a stream of frames into windows of `length`, each with the slice of its frames that are new.

    The last window is aligned to the end and overlaps the one before. A video shorter than a window repeats its
    last frame; the slice leaves the repeats out.
    """
    window: list[Tensor] = []
    seen = 0
    for frame in frames:
        window = [*window[1:], frame] if len(window) == length else [*window, frame]
        seen += 1
        if seen % length == 0:
            yield torch.stack(window), slice(0, length)
    if 0 < seen < length:
        yield torch.stack(window + window[-1:] * (length - seen)), slice(0, seen)
    elif seen % length:
        yield torch.stack(window), slice(length - seen % length, length)


def model_windows(model: VidTwin, frames: Iterable[Tensor]) -> Iterator[tuple[Tensor, slice]]:
    """Frames `h w c` of any size as windows that the model takes, `1 c t h w` in [-1, 1], and their new frames."""
    config = model.typed_config
    sized = (fit(frame[None], (config.height, config.width))[0] for frame in frames)
    for window, new in windows(sized, config.frames):
        yield rearrange(to_float(window.to(model.device)), "t h w c -> 1 c t h w"), new


def middle_window(model: VidTwin, info: VideoInfo, fps: float) -> Tensor:
    """The window in the middle of a video at a rate, as the model takes it: `1 c t h w` in [-1, 1]."""
    config = model.typed_config
    frames, _, _ = choose_window(info, config.frames, fps, None)
    clip = as_clip(read_frames(info, frames.tolist(), (config.height, config.width)), flip=False)
    return to_float(clip[None]).to(model.device)


def to_frames(video: Tensor, new: slice) -> Iterator[Tensor]:
    """The new frames of `1 c t h w`, uint8 `h w c`."""
    yield from rearrange(to_uint8(video), "1 c t h w -> t h w c")[new]
