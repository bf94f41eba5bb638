"""Decoders that seek to a video's frames: decord, and torchcodec where it is installed and finds its FFmpeg.

Each returns wrong frames or other pixels for some files, without an error; `VideoInfo.seekable_by` says which files
each is right for. Both turn the picture upright, as `data.video.frames` does.
"""

import functools
from collections.abc import Callable
from importlib.util import find_spec
from io import BytesIO
from typing import Literal

import av
import decord
import numpy as np
import torch
from torch import Tensor

from data.video.probe import BadVideo, VideoInfo

Backend = Literal["torchcodec", "decord"]

decord.logging.set_level(decord.logging.QUIET)


@functools.cache
def available() -> tuple[Backend, ...]:
    """The backends that work here, the fastest first."""
    return ("torchcodec", "decord") if _torchcodec_works() else ("decord",)


def backend_for(info: VideoInfo, asked: Backend | None = None) -> Backend | None:
    """The fastest backend, or the one asked for, if it is right for this file; None: decode in order."""
    candidates = available() if asked is None else (asked,)
    return next((name for name in candidates if name in info.seekable_by), None)


def seek(backend: Backend, info: VideoInfo, wanted: list[int], threads: int) -> Tensor:
    """The frames at `wanted`, ascending without repeats; uint8 `t h w c` of the stored size. Raises `BadVideo`."""
    if wanted[-1] >= info.frames:
        raise BadVideo(info.path, f"has no frame {wanted[-1]}")
    return SEEK[backend](info, wanted, threads)


def _decord(info: VideoInfo, wanted: list[int], threads: int) -> Tensor:
    try:
        reader = decord.VideoReader(str(info.path), num_threads=threads)
        return torch.from_numpy(reader.get_batch(wanted).asnumpy())
    except (RuntimeError, StopIteration, IndexError, decord.DECORDError) as error:
        raise BadVideo(info.path, "can no longer be read as video") from error


def _torchcodec(info: VideoInfo, wanted: list[int], threads: int) -> Tensor:
    from torchcodec.decoders import VideoDecoder

    try:
        # `exact` scans the packets: the approximate mode is wrong for variable rates and B-frames.
        settings = {"dimension_order": "NHWC", "seek_mode": "exact", "num_ffmpeg_threads": threads}
        return VideoDecoder(str(info.path), **settings).get_frames_at(wanted).data
    except (RuntimeError, ValueError, IndexError) as error:
        raise BadVideo(info.path, "can no longer be read as video") from error


SEEK: dict[Backend, Callable[[VideoInfo, list[int], int], Tensor]] = {"torchcodec": _torchcodec, "decord": _decord}


def _torchcodec_works() -> bool:
    """Whether torchcodec decodes a video; it can be installed without the FFmpeg libraries that it needs."""
    if find_spec("torchcodec") is None:
        return False
    try:
        from torchcodec.decoders import VideoDecoder

        return len(VideoDecoder(_smallest_video())) == 1
    except (ImportError, OSError, RuntimeError):
        return False


def _smallest_video() -> bytes:
    file = BytesIO()
    with av.open(file, "w", format="avi") as container:
        stream = container.add_stream("mpeg4", rate=1)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8))))
        container.mux(stream.encode())
    return file.getvalue()
