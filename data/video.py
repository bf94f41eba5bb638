"""Video files: what is in them (`probe`), their frames as uint8 tensors, and tensors written as mp4.

decord finds frames by seeking, PyAV decodes in order and writes. decord's seeking returns wrong frames, without an
error, wherever frames are not stored in the order in which they are shown, and after damage; so does its `skip_frames`.
`probe` therefore records which files are `seekable`; every other file is decoded from its first frame on.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import decord
import numpy as np
import torch
import torch.nn.functional as F
from av.error import FFmpegError
from av.video.reformatter import VideoReformatter
from einops import rearrange
from torch import Tensor

from runtime.errors import UserError

CRF = 17  # H.264's constant rate factor: visually lossless
DECODED_AT_ONCE = 64  # frames held at full size while a whole file is decoded and resized
NARROW = 96  # up to this width decord can take the padding of a line for more colour channels

decord.logging.set_level(decord.logging.QUIET)


class BadVideo(UserError):
    """A file that cannot be read as video. `reason` is one line without the path."""

    def __init__(self, path: Path, reason: str):
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True)
class VideoInfo:
    """What `probe` found in a file.

    `frames` counts the stored frames, whatever the header promises. `seekable`: decord seeks to the right frames.
    """

    path: Path
    frames: int
    fps: float
    width: int
    height: int
    seekable: bool


@contextmanager
def _opened(path: Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """The container and its video stream; every failure inside the block becomes `BadVideo`."""
    try:
        with av.open(path) as container:
            stream = container.streams.best("video")
            if stream is None:
                raise BadVideo(path, "has no video, only sound or data")
            yield container, stream
    except FileNotFoundError as error:
        raise BadVideo(path, "no such file") from error
    except IsADirectoryError as error:
        raise BadVideo(path, "is a folder, not a video") from error
    except (FFmpegError, OSError) as error:
        empty = path.is_file() and path.stat().st_size == 0
        raise BadVideo(path, "is empty" if empty else f"is no video, or is cut short ({error.strerror})") from error


def probe(path: str | Path) -> VideoInfo:
    """Read the header and the packets of a file, decoding nothing.

    Raises `BadVideo` for a file that is missing, empty, no video or without frames.
    """
    path = Path(path)
    with _opened(path) as (container, stream):
        times = [(packet.pts, packet.dts) for packet in container.demux(stream) if packet.size]
        fps = stream.average_rate or stream.guessed_rate
        width, height = stream.codec_context.width, stream.codec_context.height
        seekable = _seekable(stream, times)
    if not times or not fps:
        raise BadVideo(path, "has no frame rate" if times else "has no frames")
    return VideoInfo(path, len(times), float(fps), width, height, seekable)


def _seekable(stream: av.VideoStream, times: Sequence[tuple[int | None, int | None]]) -> bool:
    """Whether decord can be trusted to seek, by the header and the packets' times of showing and of decoding."""
    codec = stream.codec_context
    # The header announces B-frames. Where it is silent the two times differ, also for H.264 inside AVI, which stores
    # no times of showing and which decord misreads even without B-frames.
    in_order = not codec.has_b_frames and all(pts == dts for pts, dts in times)
    whole = stream.frames in (0, len(times))  # the header's count; 0: the container keeps none
    known = codec.codec.canonical_name != "av1"
    # decord's colours of odd heights differ from PyAV's, and a frame must not depend on how it was read.
    same_pixels = codec.width > NARROW and codec.height % 2 == 0
    return in_order and whole and known and same_pixels


def has_audio(path: str | Path) -> bool:
    """Whether the file has a sound track, which nothing here keeps. Raises `BadVideo`."""
    with _opened(Path(path)) as (container, _):
        return bool(container.streams.audio)


def read_frames(info: VideoInfo, indices: Sequence[int], size: tuple[int, int] | None = None) -> Tensor:
    """The frames at `indices` (any order, repeats allowed), uint8 `t h w c`, through `fit`.

    Raises `BadVideo` if the file cannot be read or has fewer frames.
    """
    wanted, position = np.unique(np.asarray(indices), return_inverse=True)
    frames = _seek(info, wanted.tolist()) if info.seekable else _pick(info, wanted.tolist())
    return fit(frames, size)[torch.from_numpy(position)]


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


def stream_frames(path: str | Path, wanted: Collection[int] | None = None) -> Iterator[Tensor]:
    """The frames of a file one by one, in order, all or the `wanted`; uint8 `h w c`, in constant memory.

    Raises `BadVideo`.
    """
    converter = VideoReformatter()
    with _opened(Path(path)) as (container, stream):
        for i, frame in enumerate(container.decode(stream)):
            if wanted is None or i in wanted:
                pixels = converter.reformat(frame, format="rgb24", threads=1)  # more threads are slower
                yield torch.from_numpy(pixels.to_ndarray())


def fit(frames: Tensor, size: tuple[int, int] | None) -> Tensor:
    """Resize uint8 `t h w c` (antialiased bilinear) to just cover `size` (h, w), if given, and cut out its centre."""
    if size is None or tuple(frames.shape[1:3]) == size:
        return frames
    (height, width), (h, w) = frames.shape[1:3], size
    scale = max(h / height, w / width)
    covering = max(h, round(height * scale)), max(w, round(width * scale))
    top, left = (covering[0] - h) // 2, (covering[1] - w) // 2
    frames = rearrange(frames, "t h w c -> t c h w")  # a view: torch resizes channels-last bytes fastest
    resized = F.interpolate(frames, size=covering, mode="bilinear", antialias=True)
    return rearrange(resized[:, :, top : top + h, left : left + w], "t c h w -> t h w c").contiguous()


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
    """0..255 to [-1, 1], float32."""
    return video.float() / 127.5 - 1


def _seek(info: VideoInfo, wanted: list[int]) -> Tensor:
    try:
        reader = decord.VideoReader(str(info.path), num_threads=1)
        if wanted[-1] < len(reader):
            return torch.from_numpy(reader.get_batch(wanted).asnumpy())
    except (RuntimeError, StopIteration, decord.DECORDError) as error:
        raise BadVideo(info.path, "can no longer be read as video") from error
    raise BadVideo(info.path, f"has no frame {wanted[-1]}")


def _pick(info: VideoInfo, wanted: list[int]) -> Tensor:
    frames = list(islice(stream_frames(info.path, set(wanted)), len(wanted)))
    if len(frames) < len(wanted):
        raise BadVideo(info.path, f"has no frame {wanted[-1]}")
    return torch.stack(frames)


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
