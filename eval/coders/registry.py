"""Coders by a short text, as commands take them.

vidtwin:FOLDER               ours, its latents as they are: float32
fp16:FOLDER  int8:FOLDER     ours, its latents rounded to 16 or 8 bits a number
wan:FOLDER  ltx:FOLDER ...   another's diffusers weights, by the family of `eval.coders.peers.FAMILIES`
h264:crf=23                  a codec at one setting; `h264:bits=40000`: at the best that fits in so many for a clip
jpeg:quality=50              likewise; both take `,chroma=444` for colours at full size
"""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import NamedTuple

from autoencoder.model import VidTwin
from eval.coders.codec import Codec, CodecCoder
from eval.coders.coder import Coder
from eval.coders.h264 import H264
from eval.coders.jpeg import JPEG
from eval.coders.peers import FAMILIES, load_peer
from eval.coders.rounding import Rounding, to_bytes, to_half
from eval.coders.vidtwin import VidTwinCoder
from runtime import distributed
from runtime.errors import UserError
from runtime.weights import load_model

OURS: Mapping[str, Rounding | None] = {"vidtwin": None, "fp16": to_half, "int8": to_bytes}
CODECS: Mapping[str, Codec] = {"h264": H264, "jpeg": JPEG}
CHROMAS = ("420", "444")


class Prepared(NamedTuple):
    """A coder whose weights are not read yet: the name that it will have, and what reads them."""

    name: str
    open: Callable[[], Coder]


def open_coder(spec: str) -> Coder:
    """What a text such as `wan:weights/vae` names, on this process's device. Raises `UserError` for a wrong one."""
    return prepare_coder(spec).open()


def prepare_coder(spec: str) -> Prepared:
    """What a text names. Raises `UserError` for one that names nothing; for weights that are not there, `open` does."""
    name, colon, rest = spec.partition(":")
    known = [*OURS, *FAMILIES, *CODECS]
    if name not in known:
        raise UserError(f"{spec}: there is no coder {name}{nearest(name, known)}")
    if not colon or not rest:
        example = codec_example(CODECS[name]) if name in CODECS else "FOLDER"
        raise UserError(f"{spec} says not which {name}; write {name}:{example}")
    if name in CODECS:
        codec = open_codec(spec, CODECS[name], rest)
        return Prepared(codec.name, lambda: codec)
    if name in FAMILIES:
        return Prepared(name, partial(load_peer, name, Path(rest), distributed.device()))
    return Prepared(name, partial(open_ours, name, rest))


def open_ours(name: str, folder: str) -> VidTwinCoder:
    return VidTwinCoder(name, load_model(VidTwin, folder).to(distributed.device()), OURS[name])


def open_codec(spec: str, codec: Codec, text: str) -> CodecCoder:
    """`crf=23,chroma=444` as a coder."""
    own = codec.setting.lower()
    settings = dict(part.partition("=")[::2] for part in text.split(","))
    if unknown := settings.keys() - {own, "bits", "chroma"}:
        wrong = sorted(unknown)[0]
        raise UserError(f"{spec}: there is no setting {wrong}{nearest(wrong, [own, 'bits', 'chroma'])}")
    if (own in settings) == ("bits" in settings):
        raise UserError(f"{spec}: give either {own}= or bits=")
    chroma = settings.get("chroma", CHROMAS[0])
    if chroma not in CHROMAS:
        raise UserError(f"{spec}: chroma is {' or '.join(CHROMAS)}")
    if "bits" in settings:
        return CodecCoder(codec, bits=whole_number(spec, settings["bits"]), chroma=chroma)
    return CodecCoder(codec, setting_of(spec, codec, settings[own]), chroma=chroma)


def whole_number(spec: str, text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise UserError(f"{spec}: bits is a positive whole number, those of one clip")
    return int(text)


def setting_of(spec: str, codec: Codec, text: str) -> float:
    """A value of the codec's own setting."""
    try:
        value = float(text)
    except ValueError:
        value = None
    if value not in codec.settings:
        coarsest, finest = codec.settings[0], codec.settings[-1]
        step = abs(codec.settings[1] - coarsest)
        least, most = sorted((coarsest, finest))
        raise UserError(f"{spec}: {codec.setting.lower()} is {least:g} to {most:g} in steps of {step:g}")
    return value


def codec_example(codec: Codec) -> str:
    """A setting in the middle, as it is written."""
    return f"{codec.setting.lower()}={codec.settings[len(codec.settings) // 2]:g}"


def nearest(word: str, known: list[str]) -> str:
    """What a wrong word was meant for, or what there is."""
    close = get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(known)}"
