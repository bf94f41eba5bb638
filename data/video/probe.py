"""What is in a video file: `probe` reads its header and packets, `verify` decodes it whole. Torch is not needed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import av
from av.error import FFmpegError

from runtime.errors import UserError

Times = Sequence[tuple[int | None, int | None]]  # of each packet: when it is shown and when it is decoded
NARROW = 96  # up to this width decord can take the padding of a line for more colour channels


class BadVideo(UserError):
    """A file that cannot be read as video. `reason` is one line without the path."""

    def __init__(self, path: Path, reason: str):
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True)
class VideoInfo:
    """What was found in a file.

    Attributes:
        frames: how many can be read; `probe` counts the stored ones, `verify` those that decode.
        fps: their mean rate.
        width, height: of the upright picture, after the rotation that the file asks for.
        b_frames: whether frames are stored in another order than they are shown.
        seekable_by: the backends that seek to the right frames, with the pixels of a sequential decode.
        problem: what is wrong with a file that can be read in part; empty for nothing.
    """

    path: Path
    frames: int
    fps: float
    width: int
    height: int
    b_frames: bool
    seekable_by: tuple[str, ...]
    problem: str = ""


@contextmanager
def opened(path: Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """The container and its video stream; every failure inside the block becomes `BadVideo`."""
    try:
        with av.open(path, metadata_errors="replace") as container:
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
    """Read the header and the packets of a file, and decode its first frame.

    Raises `BadVideo` for a file that is missing, empty, no video or without frames.
    """
    path = Path(path)
    with opened(path) as (container, stream):
        times = [(packet.pts, packet.dts) for packet in container.demux(stream) if packet.size]
        fps = stream.average_rate or stream.guessed_rate
        b_frames = bool(stream.codec_context.has_b_frames) or any(pts != dts for pts, dts in times)
        seekable_by, problem = _seekable_by(container, stream, times), _shortfall(container, stream, times)
    if not times or not fps:
        raise BadVideo(path, "has no frame rate" if times else "has no frames")
    width, height, rotation = _first_picture(path)
    if rotation % 180:
        width, height = height, width
    return VideoInfo(path, len(times), float(fps), width, height, b_frames, seekable_by, problem)


def verify(info: VideoInfo) -> VideoInfo:
    """Decode a probed file from end to end: its true length, and what went wrong.

    A file with damage of any kind loses `seekable_by`, for seeking ends up elsewhere, or shows other pixels, than
    decoding in order. Raises `BadVideo` if no frame can be decoded.
    """
    frames, failure = 0, None
    with _complaints() as complaints:
        try:
            with opened(info.path) as (container, stream):
                for _ in container.decode(stream):
                    frames += 1
        except BadVideo as error:
            failure = error
    if not frames:
        raise failure or BadVideo(info.path, "yields no frame")
    problem = info.problem
    if frames < info.frames:
        problem = problem or f"decodes to {frames} of {info.frames} frames"
    elif failure or complaints:
        problem = problem or f"is damaged ({complaints[0] if complaints else failure.reason})"
    seekable_by = () if problem or frames != info.frames else info.seekable_by
    return replace(info, frames=frames, problem=problem, seekable_by=seekable_by)


def has_audio(path: str | Path) -> bool:
    """Whether the file has a sound track, which nothing here keeps. Raises `BadVideo`."""
    with opened(Path(path)) as (container, _):
        return bool(container.streams.audio)


def _seekable_by(container: av.container.InputContainer, stream: av.VideoStream, times: Times) -> tuple[str, ...]:
    """Who can be trusted to seek, by the header and the packets' times of showing and of decoding."""
    codec = stream.codec_context
    if stream.frames not in (0, len(times)):  # the header's count; 0: the container keeps none
        return ()
    # The header announces B-frames. Where it is silent the two times differ, also for H.264 inside AVI, which stores
    # no times of showing and which decord misreads even without B-frames.
    in_order = not codec.has_b_frames and all(pts == dts for pts, dts in times)
    timed = all(pts is not None for pts, _ in times) and container.format.name != "avi"
    even = codec.width % 2 == 0 and codec.height % 2 == 0
    by = []
    # Colours of odd sizes differ from a sequential decode, and a frame must not depend on how it was read.
    if even and (in_order or timed):
        by.append("torchcodec")
    if in_order and codec.codec.canonical_name != "av1" and codec.width > NARROW and codec.height % 2 == 0:
        by.append("decord")
    return tuple(by)


def _shortfall(container: av.container.InputContainer, stream: av.VideoStream, times: Times) -> str:
    """How the file falls short of its header: of its count of frames, or, where it keeps none, of its duration."""
    if stream.frames:
        return f"ends after {len(times)} of {stream.frames} frames" if len(times) < stream.frames else ""
    shown = sorted(pts for pts, _ in times if pts is not None)
    # A sound track may be longer than the video, and the duration is that of the longest.
    if not shown or not container.duration or not stream.average_rate or len(container.streams) > 1:
        return ""
    gaps = [(after - before) * stream.time_base for before, after in pairwise(shown)]
    last_stands = 2 * max(gaps, default=1 / stream.average_rate)  # at the most
    end, promised = (shown[-1] - shown[0]) * stream.time_base, container.duration / av.time_base
    return f"ends after {float(end):.2f} of {promised:.2f} seconds" if end + last_stands < promised else ""


def _first_picture(path: Path) -> tuple[int, int, int]:
    """Width, height and rotation in degrees."""
    with opened(path) as (container, stream):
        for frame in container.decode(stream):
            return frame.width, frame.height, frame.rotation
    raise BadVideo(path, "yields no frame")


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """Errors that the decoder reports inside the block, and passes over."""
    level, messages = av.logging.get_level(), []
    av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture(local=False) as captured:
            yield messages
            messages += [" ".join(text.split()) for severity, _, text in captured if severity <= av.logging.ERROR]
    finally:
        av.logging.set_level(level)
