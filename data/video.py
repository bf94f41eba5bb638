"""Video files: what is in them (`probe`), their frames as uint8 tensors, and tensors written as mp4.

decord decodes, one frame after another or by seeking. Its seeking returns wrong frames, without an error,
wherever frames are not stored in the order in which they are shown (B-frames, H.264 inside AVI) and after
damage, and so does its `skip_frames`. `probe` therefore records which files are `seekable`; every other file
is decoded from its first frame on. PyAV reads headers and packets, and writes.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import decord
import numpy as np
import torch
import torch.nn.functional as F
from av.error import FFmpegError
from einops import rearrange
from torch import Tensor

from runtime.errors import UserError

CRF = 17  # H.264's constant rate factor: visually lossless
DECODED_AT_ONCE = 64  # frames held at full size while a whole file is decoded and resized

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

    `frames` counts the stored frames, whatever the header promises. `reordered`: frames are, or may be, stored in
    another order than they are shown (B-frames). `damaged`: the header promises another number of frames.
    """

    path: Path
    frames: int
    fps: float
    width: int
    height: int
    reordered: bool
    damaged: bool = False

    @property
    def seekable(self) -> bool:
        """Whether decord finds the right frame by seeking."""
        return not (self.reordered or self.damaged)


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

    Raises `BadVideo` for a file that is missing, empty, no video, without frames or in a codec unknown to decord.
    """
    path = Path(path)
    with _opened(path) as (container, stream):
        codec = stream.codec_context
        fps = stream.average_rate or stream.guessed_rate
        packets = [(packet.pts, packet.dts) for packet in container.demux(stream) if packet.size]
    if codec.codec.canonical_name == "av1":
        raise BadVideo(path, "is AV1, which decord cannot decode: convert it to H.264")
    if not packets or not fps:
        raise BadVideo(path, "has no frames" if fps else "has no frame rate")
    return VideoInfo(
        path=path,
        frames=len(packets),
        fps=float(fps),
        width=codec.width,
        height=codec.height,
        # The codec's flag comes from its header; where that is silent, times of showing and of decoding differ.
        reordered=codec.has_b_frames or any(pts != dts for pts, dts in packets),
        damaged=stream.frames not in (0, len(packets)),  # 0: the container keeps no count
    )


def has_audio(path: str | Path) -> bool:
    """Whether the file has a sound track, which nothing here keeps. Raises `BadVideo`."""
    with _opened(Path(path)) as (container, _):
        return bool(container.streams.audio)


def read_frames(info: VideoInfo, indices: Sequence[int], size: tuple[int, int] | None = None) -> Tensor:
    """The frames at `indices` (any order, repeats allowed), uint8 `t h w c`, through `fit`.

    Raises `BadVideo` if the file cannot be read or has fewer frames.
    """
    wanted, position = np.unique(np.asarray(indices), return_inverse=True)
    reader = _reader(info)
    frames = _seek(reader, info, wanted) if info.seekable else _pick(reader, info, wanted)
    return fit(frames, size)[torch.from_numpy(position)]


def decode_all(info: VideoInfo, size: tuple[int, int] | None = None) -> Tensor:
    """All frames that the file yields, maybe fewer than `info.frames`: uint8 `t h w c`, equal to `read_frames`."""
    parts, chunk = [], []
    for frame in _decoded(_reader(info), info):
        chunk.append(frame)
        if len(chunk) == DECODED_AT_ONCE:
            parts.append(_stacked(chunk, size))
            chunk = []
    if chunk:
        parts.append(_stacked(chunk, size))
    if not parts:
        raise BadVideo(info.path, "yields no frame")
    return torch.cat(parts)


def stream_frames(path: str | Path) -> Iterator[Tensor]:
    """The frames of a file one by one, uint8 `h w c`, in constant memory. Raises `BadVideo`."""
    with _opened(Path(path)) as (container, stream):
        for frame in container.decode(stream):
            yield torch.from_numpy(frame.to_ndarray(format="rgb24"))


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


def _reader(info: VideoInfo) -> decord.VideoReader:
    try:
        return decord.VideoReader(str(info.path), num_threads=1)
    except (RuntimeError, decord.DECORDError) as error:
        raise BadVideo(info.path, "can no longer be opened as video") from error


def _decoded(reader: decord.VideoReader, info: VideoInfo) -> Iterator[decord.nd.NDArray]:
    """Frames in order from the first one, `h w c`."""
    try:
        while True:
            yield reader.next()
    except StopIteration:
        return
    except (RuntimeError, decord.DECORDError) as error:
        raise BadVideo(info.path, "fails to decode") from error


def _pick(reader: decord.VideoReader, info: VideoInfo, wanted: np.ndarray) -> Tensor:
    """Decode from the first frame up to the last of the sorted `wanted` and keep these."""
    keep = set(wanted.tolist())
    picked = []
    for i, frame in enumerate(_decoded(reader, info)):
        if i in keep:
            picked.append(frame)
        if i == wanted[-1]:
            return _stacked(picked)
    raise BadVideo(info.path, f"has no frame {wanted[-1]}")


def _seek(reader: decord.VideoReader, info: VideoInfo, wanted: np.ndarray) -> Tensor:
    if wanted[-1] >= len(reader):
        raise BadVideo(info.path, f"has no frame {wanted[-1]}")
    try:
        return torch.from_numpy(reader.get_batch(wanted.tolist()).asnumpy())
    except (RuntimeError, StopIteration, decord.DECORDError) as error:
        raise BadVideo(info.path, "fails to decode") from error


def _stacked(frames: list[decord.nd.NDArray], size: tuple[int, int] | None = None) -> Tensor:
    return fit(torch.from_numpy(np.stack([frame.asnumpy() for frame in frames])), size)


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
