"""How every script starts and ends: quiet libraries, one-line errors, meaningful exit codes."""

import atexit
import functools
import gc
import logging
import signal
import sys
import warnings
from collections.abc import Callable

from runtime.errors import Preempted, SaidByMain, UserError

NOISY_LOGGERS = ("DeepSpeed", "diffusers", "torch.utils.cpp_extension", "py.warnings")

atexit.register(gc.freeze)  # or Python, as it ends, would take a second to search the large libraries for garbage


def quiet_libraries() -> None:
    """Send the libraries' start-up notices below the level that reaches a terminal."""
    logging.captureWarnings(True)
    for name in NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.simplefilter("ignore", FutureWarning)


def script(main: Callable[[list[str]], None]) -> Callable[[list[str] | None], int]:
    """Turn `main(argv)` into an entry point that returns an exit code.

    0 on success, 2 with one line on stderr for a `UserError`, 128 + n when stopped by signal n. Anything else is a
    defect of ours and keeps its traceback.
    """

    @functools.wraps(main)
    def entry(argv: list[str] | None = None) -> int:
        quiet_libraries()
        try:
            main(sys.argv[1:] if argv is None else argv)
        except SaidByMain:
            return 2
        except UserError as error:
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
            return 2
        except Preempted as stop:
            from runtime import distributed  # and with it PyTorch, which not every script needs

            if distributed.is_main():
                print(stop, file=sys.stderr)
            return 128 + stop.number
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 128 + signal.SIGINT
        return 0

    return entry
