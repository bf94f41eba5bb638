"""Pictures and videos inside the page, as many as it may hold."""

import base64
from pathlib import Path

LIMIT = 19_000_000
"""Bytes of the page that media may take: with all the rest it stays under 20 MB."""
KINDS = {".mp4": "video/mp4", ".png": "image/png", ".webp": "image/webp"}


class Media:
    """Turns files into data: URIs, first come, first served: what does not fit any more is left out, and named."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.room = limit
        self.left_out: list[str] = []

    def __call__(self, file: Path) -> str | None:
        """The URI; None for a file that is not there or does not fit."""
        if not file.is_file():
            return None
        kind = KINDS[file.suffix]
        # Told by its size alone, so that a file far too large is not read.
        if 4 * (file.stat().st_size // 3 + 1) + len(kind) + 13 > self.room:
            self.left_out.append(file.name)
            return None
        uri = f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"
        self.room -= len(uri)
        return uri
