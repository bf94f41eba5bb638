"""How every script starts and ends: quiet libraries, one-line errors, meaningful exit codes."""

import functools
import logging
import sys
import warnings
from collections.abc import Callable

from runtime.errors import UserError

NOISY_LOGGERS = ("DeepSpeed", "diffusers", "torch.utils.cpp_extension", "py.warnings")


def quiet_libraries() -> None:
    """Send the libraries' start-up notices below the level that reaches a terminal."""
    logging.captureWarnings(True)
    for name in NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.simplefilter("ignore", FutureWarning)


def script(main: Callable[[list[str]], None]) -> Callable[[list[str] | None], int]:
    """Turn `main(argv)` into an entry point that returns an exit code.

    0 on success, 2 with one line on stderr for a `UserError`, 130 when interrupted. Anything else is a
    defect of ours and keeps its traceback.
    """

    @functools.wraps(main)
    def entry(argv: list[str] | None = None) -> int:
        quiet_libraries()
        try:
            main(sys.argv[1:] if argv is None else argv)
        except UserError as error:
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 130
        return 0

    return entry
