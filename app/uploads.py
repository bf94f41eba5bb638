"""Which files the app takes: each is decoded once in a process of its own before anything here looks at it."""

from dataclasses import dataclass
from pathlib import Path

from data.folder import SUFFIXES
from data.video.frames import BadVideo, VideoInfo
from data.video.inspector import inspect_all
from runtime.errors import UserError


@dataclass(frozen=True)
class Limits:
    """The largest videos that are taken: bytes of the file, seconds, pixels of a frame."""

    size: int = 200_000_000
    seconds: float = 60.0
    pixels: int = 3840 * 2160


LIMITS = Limits()
MATROSKA = b"\x1a\x45\xdf\xa3"
MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide")


def admit(path: str | Path, limits: Limits = LIMITS) -> VideoInfo:
    """What is in a file that may be shown.

    Raises `UserError`, one line that names the file as its owner does, for one that is too large, too long, no video,
    or that a decoder crashes or hangs on.
    """
    path = Path(path)
    size = path.stat().st_size
    if size > limits.size:
        raise UserError(
            f"{path.name} has {size / 1e6:.0f} MB; at most {limits.size / 1e6:.0f} MB are taken: cut or compress it"
        )
    if not begins_as_video(path):
        raise UserError(f"{path.name} is no video in a file that is known here ({', '.join(sorted(SUFFIXES))})")
    [info] = inspect_all([path])
    if isinstance(info, BadVideo):
        raise UserError(f"{path.name} {info.reason}; choose another file")
    if info.width * info.height > limits.pixels:
        raise UserError(
            f"{path.name} has frames of {info.width}×{info.height} pixels; at most {limits.pixels / 1e6:.1f} million "
            "pixels are taken: make it smaller"
        )
    if info.frames / info.fps > limits.seconds:
        raise UserError(
            f"{path.name} is {info.frames / info.fps:.0f} seconds long; at most {limits.seconds:.0f} are taken: cut it"
        )
    return info


def begins_as_video(path: Path) -> bool:
    """Whether it is AVI, Matroska or MP4 by its first bytes, whatever its name.

    FFmpeg goes by them, too, and would take a text that lists other files, such as a playlist, for the videos in these.
    """
    with path.open("rb") as file:
        first = file.read(12)
    avi = first[:4] == b"RIFF" and first[8:] == b"AVI "
    return avi or first[:4] == MATROSKA or first[4:8] in MP4_BOXES
