"""H.264 as FFmpeg's libx264 writes it: what its pictures take, apart from what describes them."""

import re
from fractions import Fraction

import av
import numpy as np

from eval.coders.codec import Codec, Stream

CRFS = [quarters / 4 for quarters in range(4 * 51, -1, -1)]  # constant rate factors of 8-bit x264
FRAME_RATE = 25  # its rate control counts in seconds; a search by bits finds the same quality at any
# Without the adjustments that please eyes and cost PSNR, which is what it is compared by; and without vector code, with
# which x264 writes a small clip now in a few bits more, now in fewer.
OPTIONS = {"preset": "slow", "tune": "psnr", "x264-params": "asm=0"}
START = b"\x00\x00\x01"  # before each unit of an Annex B stream
SLICES = range(1, 6)  # types of the units that hold pictures; others hold parameters and remarks (H.264, table 7-1)


def write(clip: np.ndarray, crf: float, chroma: str) -> Stream:
    """uint8 `t h w c` as packets, on one thread: the same clip gives the same bits."""
    height, width = clip.shape[1:3]
    even = np.pad(clip, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")  # as yuv420p holds
    codec = av.CodecContext.create("libx264", "w")
    codec.height, codec.width = even.shape[1:3]
    codec.pix_fmt, codec.framerate, codec.time_base = f"yuv{chroma}p", FRAME_RATE, Fraction(1, FRAME_RATE)
    codec.thread_count = 1
    codec.options = {**OPTIONS, "crf": str(crf)}
    packets = []
    for time, pixels in enumerate(even):
        frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
        frame.pts = time
        packets += map(bytes, codec.encode(frame))
    packets += map(bytes, codec.encode(None))
    payload = sum(map(slice_bytes, packets))
    return Stream(packets, 8 * payload, 8 * (sum(map(len, packets)) - payload))


def slice_bytes(packet: bytes) -> int:
    """Bytes of the slices in an Annex B packet, without their start codes."""
    units = re.split(START, packet)[1:]
    # No unit ends in a zero byte (H.264, 7.4.1): one that stands there belongs to the next, longer start code.
    return sum(len(unit.rstrip(b"\x00")) for unit in units if unit[0] & 31 in SLICES)


def read(stream: Stream) -> np.ndarray:
    """uint8 `t h w c` in the order in which it is shown, h and w even."""
    codec = av.CodecContext.create("h264", "r")
    codec.thread_count = 1
    packets = [*map(av.Packet, stream.parts), None]
    return np.stack([frame.to_ndarray(format="rgb24") for packet in packets for frame in codec.decode(packet)])


H264 = Codec("H.264", "CRF", CRFS, write, read)
