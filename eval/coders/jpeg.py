"""JPEG, a file for each frame: what its blocks take, apart from the tables before them."""

from io import BytesIO

import numpy as np
from PIL import Image

from eval.coders.codec import Codec, Stream

QUALITIES = range(1, 101)  # as libjpeg counts
SUBSAMPLING = {"420": "4:2:0", "444": "4:4:4"}
START_OF_SCAN = 0xDA  # marker of the header that the coded blocks follow (ITU-T T.81, table B.1)


def write(clip: np.ndarray, quality: float, chroma: str) -> Stream:
    """uint8 `t h w c`, baseline, with the standard's Huffman tables: they tell nothing of the picture."""
    files = []
    for pixels in clip:
        file = BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=int(quality), subsampling=SUBSAMPLING[chroma])
        files.append(file.getvalue())
    payload = sum(map(scan_bytes, files))
    return Stream(files, 8 * payload, 8 * (sum(map(len, files)) - payload))


def scan_bytes(file: bytes) -> int:
    """Bytes between a baseline file's last header and its end marker."""
    place = 2  # after the start marker
    while True:
        marker, length = file[place + 1], int.from_bytes(file[place + 2 : place + 4], "big")
        place += 2 + length
        if marker == START_OF_SCAN:
            return len(file) - 2 - place


def read(stream: Stream) -> np.ndarray:
    """uint8 `t h w c`."""
    return np.stack([np.asarray(Image.open(BytesIO(file)).convert("RGB")) for file in stream.parts])


JPEG = Codec("JPEG", "quality", QUALITIES, write, read)
