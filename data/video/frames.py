"""Frames of video files as uint8 tensors, and tensors written as mp4.

Frames are numbered in the order in which they are shown, and upright: a rotation that the file asks for is applied.
Whichever way a frame is read, its pixels are those of a decode from the first frame on.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from itertools import islice, repeat
from pathlib import Path

import av
import numpy as np
import torch
import torch.nn.functional as F
from av.video.reformatter import VideoReformatter
from einops import rearrange
from torch import Tensor

from data.video.backends import Backend, backend_for, seek
from data.video.probe import BadVideo, VideoInfo, has_audio, opened, probe
from runtime.errors import UserError

__all__ = [
    "BadVideo",
    "VideoInfo",
    "decode_all",
    "fit",
    "has_audio",
    "numbers_at_rate",
    "probe",
    "read_frames",
    "stream_frames",
    "stream_numbered",
    "to_float",
    "to_uint8",
    "write_video",
]

CRF = 17  # H.264's constant rate factor: visually lossless
DECODED_AT_ONCE = 64  # frames held at full size while a whole file is decoded and resized


def read_frames(
    video: VideoInfo | str | Path,
    indices: Sequence[int],
    size: tuple[int, int] | None = None,
    backend: Backend | None = None,
    threads: int = 1,
) -> Tensor:
    """The frames at `indices` (any order, repeats allowed), uint8 `t h w c`, through `fit`.

    A `backend` that is asked for, or else the fastest there is, seeks them; where it cannot be trusted with the file,
    or gives up, the file is decoded from its first frame on.

    Raises `BadVideo` if it cannot be read or has fewer frames.
    """
    info = video if isinstance(video, VideoInfo) else probe(video)
    wanted, position = np.unique(np.asarray(indices), return_inverse=True)
    fitted = fit(_seek_or_pick(info, wanted.tolist(), backend, threads), size)
    ascending = len(wanted) == len(position) and bool((position[1:] > position[:-1]).all())
    return fitted if ascending else fitted[torch.from_numpy(position)]


def decode_all(info: VideoInfo, size: tuple[int, int] | None = None) -> Tensor:
    """All frames that the file yields, fewer than `info.frames` if it is damaged; uint8 `t h w c` as `read_frames`.

    Raises `BadVideo` if there is none.
    """
    parts, frames = [], stream_frames(info.path)
    try:
        while chunk := list(islice(frames, DECODED_AT_ONCE)):
            parts.append(fit(torch.stack(chunk), size))
    except BadVideo:
        if not parts:
            raise
    if not parts:
        raise BadVideo(info.path, "yields no frame")
    return torch.cat(parts)


def stream_frames(path: str | Path, wanted: Collection[int] | None = None, threads: int = 1) -> Iterator[Tensor]:
    """The frames of a file one by one, in order, all or the `wanted`; uint8 `h w c`, in constant memory.

    Raises `BadVideo`.
    """
    converter = VideoReformatter()
    with opened(Path(path)) as (container, stream):
        stream.codec_context.thread_count = threads
        stream.thread_type = "AUTO"
        for i, frame in enumerate(container.decode(stream)):
            if wanted is None or i in wanted:
                pixels = converter.reformat(frame, format="rgb24", threads=1)  # more threads are slower
                yield _upright(torch.from_numpy(pixels.to_ndarray()), frame.rotation)


def numbers_at_rate(info: VideoInfo, fps: float) -> list[int]:
    """Of every moment `k / fps` up to a video's last frame the number of the frame nearest to it.

    A faster video leaves frames out, a slower one repeats some.
    """
    step = info.fps / fps
    return [round(k * step) for k in range(int((info.frames - 1) / step) + 1)]


def stream_numbered(path: str | Path, numbers: Sequence[int]) -> Iterator[Tensor]:
    """As `stream_frames`, of the frames with these numbers, ascending, as often as each stands there."""
    times = Counter(numbers)
    for number, frame in zip(times, stream_frames(path, times), strict=False):  # ends with the last that is wanted
        yield from repeat(frame, times[number])


def fit(frames: Tensor, size: tuple[int, int] | None) -> Tensor:
    """Cut the middle of the shape of `size` (h, w), if given, out of uint8 `t h w c`, and resize it (antialiased)."""
    if size is None or tuple(frames.shape[1:3]) == size:
        return frames
    (height, width), (h, w) = frames.shape[1:3], size
    scale = max(h / height, w / width)
    kept_h, kept_w = min(height, round(h / scale)), min(width, round(w / scale))
    top, left = (height - kept_h) // 2, (width - kept_w) // 2
    middle = frames[:, top : top + kept_h, left : left + kept_w]  # first, so that nothing is resized to be cut off
    middle = rearrange(middle, "t h w c -> t c h w")  # a view: torch resizes channels-last bytes fastest
    resized = F.interpolate(middle, size=size, mode="bilinear", antialias=True)
    return rearrange(resized, "t c h w -> t h w c").contiguous()


def write_video(path: str | Path, frames: Iterable[Tensor], fps: float | Fraction) -> None:
    """Write uint8 frames `h w c` (or one tensor `t h w c`) as mp4: H.264, yuv420p, near-lossless.

    The frames are taken one at a time, so memory stays constant. The frame rate is kept exactly, the NTSC rates as
    their fractions over 1001. An odd height or width, which yuv420p cannot hold, gains a copy of its last line.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    try:
        with av.open(partial, "w", format="mp4") as container:
            stream = None
            for frame in frames:
                stream = stream or _h264_stream(container, frame, fps)
                container.mux(stream.encode(_even(frame)))
            if stream is None:
                raise UserError(f"{path}: no frames to write")
            container.mux(stream.encode())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def to_uint8(video: Tensor) -> Tensor:
    """[-1, 1] to 0..255: rounded, not truncated, and clamped."""
    return ((video.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def to_float(video: Tensor) -> Tensor:
    """0..255 to [-1, 1], float32, laid out in the order of its axes."""
    return video.to(torch.float32, memory_format=torch.contiguous_format) / 127.5 - 1


def _seek_or_pick(info: VideoInfo, wanted: list[int], backend: Backend | None, threads: int) -> Tensor:
    if chosen := backend_for(info, backend):
        with suppress(BadVideo):  # torchcodec does not reach the last frame of some files that FFmpeg decodes
            return seek(chosen, info, wanted, threads)
    return _pick(info, wanted, threads)


def _pick(info: VideoInfo, wanted: list[int], threads: int) -> Tensor:
    frames = list(islice(stream_frames(info.path, set(wanted), threads), len(wanted)))
    if len(frames) < len(wanted):
        raise BadVideo(info.path, f"has no frame {wanted[-1]}")
    return torch.stack(frames)


def _upright(picture: Tensor, rotation: int) -> Tensor:
    """`h w c` turned by its file's rotation, degrees counter-clockwise, to the nearest right angle."""
    quarters = round(rotation / 90)
    return picture.rot90(quarters, (0, 1)).contiguous() if quarters else picture


def _h264_stream(container: av.container.OutputContainer, frame: Tensor, fps: float | Fraction) -> av.VideoStream:
    stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
    stream.height, stream.width = (n + n % 2 for n in frame.shape[:2])
    stream.pix_fmt = "yuv420p"
    stream.options = {"crf": str(CRF)}
    return stream


def _even(frame: Tensor) -> av.VideoFrame:
    pixels = frame.cpu().numpy()
    height, width, _ = pixels.shape
    return av.VideoFrame.from_ndarray(np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge"), "rgb24")
