"""A folder that one process writes to at a time."""

import fcntl
from pathlib import Path
from typing import IO

from runtime.errors import UserError


def lock(path: Path) -> IO[str]:
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise UserError(f"another run is writing to {path.parent}; wait for it or choose another --run") from None
    return file
