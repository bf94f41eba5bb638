"""Codecs that write bits, as coders: at one of their settings, or at the finest that a number of bits allows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from data.video.frames import to_float, to_uint8
from eval.coders.coder import Coded
from eval.coders.lattice import cut_back


@dataclass(frozen=True)
class Stream:
    """A clip as a codec wrote it.

    Attributes:
        parts: what a decoder is given, piece by piece.
        payload: bits that hold the picture.
        overhead: bits of all else in `parts`.
    """

    parts: list[bytes]
    payload: int
    overhead: int


@dataclass(frozen=True)
class Codec:
    """How a codec is used.

    Attributes:
        name: as tables call it.
        setting: what its setting is called.
        settings: its values, the coarsest first.
        write: uint8 `t h w c` at a setting and with a chroma format (`420` or `444`) to a stream.
        read: a stream to uint8 `t h w c`, at least as large as what was written.
    """

    name: str
    setting: str
    settings: Sequence[float]
    write: Callable[[np.ndarray, float, str], Stream]
    read: Callable[[Stream], np.ndarray]


class CodecCoder:
    """A codec on each clip by itself, without a container.

    Attributes:
        setting: one for all clips.
        bits: payload that each clip may have, instead of a setting.
        chroma: `420` keeps the colours of four pixels together, as nearly all videos do; `444` those of each.
    """

    def __init__(
        self, codec: Codec, setting: float | None = None, bits: int | None = None, chroma: str = "420"
    ) -> None:
        assert (setting is None) != (bits is None)
        self.codec, self.setting, self.bits, self.chroma = codec, setting, bits, chroma
        aim = f"{codec.setting} {setting:g}" if bits is None else f"{bits} bits"
        self.name = self.identity = f"{codec.name} {aim}" + (" 4:4:4" if chroma == "444" else "")

    def __call__(self, video: Tensor) -> Coded:
        clips = rearrange(to_uint8(video), "b c t h w -> b t h w c").cpu().numpy()
        streams = [self.write(clip) for clip in clips]
        shown = torch.from_numpy(np.stack([self.codec.read(stream) for stream in streams])).to(video.device)
        payload = torch.tensor([stream.payload for stream in streams], device=video.device)
        overhead = torch.tensor([stream.overhead for stream in streams], device=video.device)
        reached = None if self.bits is None else payload <= self.bits
        back = cut_back(to_float(rearrange(shown, "b t h w c -> b c t h w")), video)
        return Coded(back, bits=payload, overhead=overhead, reached=reached)

    def write(self, clip: np.ndarray) -> Stream:
        """uint8 `t h w c` at the setting, or at the finest whose payload is at most `bits`, else at the coarsest.

        Bisection: where a codec's payload shrinks here and there as its setting gets finer, a finer one may fit too.
        """
        if self.bits is None:
            return self.codec.write(clip, self.setting, self.chroma)
        settings = self.codec.settings
        best = self.codec.write(clip, settings[0], self.chroma)
        low, high = 1, len(settings) if best.payload <= self.bits else 1
        while low < high:
            middle = (low + high) // 2
            stream = self.codec.write(clip, settings[middle], self.chroma)
            if stream.payload <= self.bits:
                best, low = stream, middle + 1
            else:
                high = middle
        return best
