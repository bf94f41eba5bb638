"""A file to frames, and frames to a file. Frames are uint8 `h w c`, RGB."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import torch
import torch.nn.functional as F
from av.error import FFmpegError
from einops import rearrange
from torch import Tensor

from runtime.errors import UserError

CRF = 17
CHUNK = 64


class BadVideo(UserError):
    """A file that cannot be read as a video, with the reason in one line."""


@dataclass(frozen=True)
class VideoInfo:
    """What the headers and packets of a file say; nothing of it needed decoding.

    Attributes:
        frames: packets of the video stream.
        fps: average rate.
        reordered: AVI with B-frames, in which decord seeks to wrong frames without a word.
    """

    path: Path
    frames: int
    fps: float
    width: int
    height: int
    reordered: bool


def probe(path: Path) -> VideoInfo:
    """Read a file's headers and packets. Raises `BadVideo` for what is no video."""
    if not path.is_file():
        raise BadVideo(f"{path}: no such file")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise BadVideo(f"{path}: no video stream")
            stream = container.streams.video[0]
            times = [packet.pts for packet in container.demux(stream) if packet.size]
            rate, context = stream.average_rate, stream.codec_context
            known = [time for time in times if time is not None]
            reordered = context.has_b_frames or known != sorted(known)
            info = VideoInfo(
                path, len(times), float(rate or 0), context.width, context.height, "avi" in container.format.name and reordered
            )
    except FFmpegError as error:
        raise BadVideo(f"{path}: {error.strerror or error}") from error
    if not info.frames or not info.fps or not info.width:
        raise BadVideo(f"{path}: a video stream without frames")
    return info


def read_frames(info: VideoInfo, indices: Sequence[int], size: tuple[int, int] | None = None) -> Tensor:
    """The frames `indices` as uint8 `t h w c`; with a `size` (h, w) resized to cover it and centre-cropped.

    Raises `BadVideo` when the file breaks, or ends before the last of them.
    """
    wanted = sorted(set(indices))
    with _decoding(info):
        reader = _open(info)
        if wanted[-1] >= len(reader):
            raise BadVideo(f"{info.path}: ends after {len(reader)} frames, frame {wanted[-1]} was asked for")
        if info.reordered:
            every = (torch.from_numpy(reader.next().asnumpy()) for _ in range(wanted[-1] + 1))
            kept = set(wanted)
            frames = torch.stack([frame for i, frame in enumerate(every) if i in kept])
        else:
            frames = torch.from_numpy(reader.get_batch(wanted).asnumpy())
    place = {index: i for i, index in enumerate(wanted)}
    return fit(frames, size)[[place[index] for index in indices]]


def decode_all(info: VideoInfo, size: tuple[int, int] | None = None) -> Tensor:
    """Every frame that decodes, uint8 `t h w c`, sized as by `read_frames`. Raises `BadVideo` when there is none."""
    with _decoding(info):
        reader = _open(info)
        chunks = []
        for start in range(0, len(reader), CHUNK):
            count = min(CHUNK, len(reader) - start)
            if info.reordered:
                chunk = torch.stack([torch.from_numpy(reader.next().asnumpy()) for _ in range(count)])
            else:
                chunk = torch.from_numpy(reader.get_batch(range(start, start + count)).asnumpy())
            chunks.append(fit(chunk, size))
    if not chunks:
        raise BadVideo(f"{info.path}: no frame decodes")
    return torch.cat(chunks)


def _open(info: VideoInfo) -> "decord.VideoReader":  # noqa: F821
    import decord

    return decord.VideoReader(str(info.path), num_threads=1)


class _decoding:
    """decord's exceptions as `BadVideo`."""

    def __init__(self, info: VideoInfo) -> None:
        self.info = info

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, BadVideo) or error is None:
            return
        if isinstance(error, RuntimeError | StopIteration) or kind.__name__ == "DECORDError":
            reason = str(error).strip().splitlines()[0] if str(error).strip() else kind.__name__
            raise BadVideo(f"{self.info.path}: {reason}") from error


def fit(frames: Tensor, size: tuple[int, int] | None) -> Tensor:
    """uint8 `t h w c` resized (bilinear, antialiased) to cover `size`, then centre-cropped to it."""
    if size is None or tuple(frames.shape[1:3]) == size:
        return frames
    (h, w), (have_h, have_w) = size, frames.shape[1:3]
    scale = max(h / have_h, w / have_w)
    covering = max(h, round(have_h * scale)), max(w, round(have_w * scale))
    resized = F.interpolate(rearrange(frames, "t h w c -> t c h w"), covering, mode="bilinear", antialias=True)
    top, left = (covering[0] - h) // 2, (covering[1] - w) // 2
    return rearrange(resized[..., top : top + h, left : left + w], "t c h w -> t h w c").contiguous()


def stream_frames(path: Path) -> Iterator[Tensor]:
    """Every frame of a file in order, uint8 `h w c`, in constant memory. Raises `BadVideo`."""
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                yield torch.from_numpy(frame.to_ndarray(format="rgb24"))
    except (FFmpegError, IndexError) as error:
        raise BadVideo(f"{path}: {getattr(error, 'strerror', None) or 'no video stream'}") from error


def write_video(path: Path, frames: Iterable[Tensor], fps: float) -> None:
    """Write uint8 `h w c` frames as H.264 mp4 (yuv420p, CRF 17), beside its place and then into it.

    An odd height or width repeats its last row or column, since 4:2:0 colour needs even ones.
    """
    partial = path.with_name(f".{path.name}.partial")
    stream = None
    with av.open(str(partial), "w", format="mp4") as container:
        for frame in frames:
            frame = _even(frame)
            if stream is None:
                stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
                stream.height, stream.width = frame.shape[:2]
                stream.pix_fmt, stream.options = "yuv420p", {"crf": str(CRF)}
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame.numpy(), format="rgb24")))
        if stream is None:
            raise UserError(f"{path}: there is no frame to write")
        container.mux(stream.encode())
    partial.replace(path)


def _even(frame: Tensor) -> Tensor:
    h, w = frame.shape[:2]
    rows, columns = torch.arange(h + h % 2).clamp(max=h - 1), torch.arange(w + w % 2).clamp(max=w - 1)
    return frame.cpu()[rows][:, columns].contiguous()


def to_float(frames: Tensor) -> Tensor:
    """uint8 to [-1, 1]."""
    return frames.float() / 127.5 - 1


def to_uint8(video: Tensor) -> Tensor:
    """[-1, 1] to uint8, clamped and rounded."""
    return ((video.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
