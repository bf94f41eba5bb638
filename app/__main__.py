"""Open a trained run in the browser: take videos apart, swap their latents, generate, look inside.

`python -m app --weights runs/demo`; without weights it shows the showcase that comes with the project.
"""

import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from app.weights import open_weights
from runtime import distributed
from runtime.errors import UserError
from runtime.models import add_weights_option
from runtime.options import OptionParser
from runtime.script import script

EXTRA = "gradio"


@script
def main(argv: list[str]) -> None:
    parser = OptionParser(prog="app", description="Open a trained run in the browser.")
    add_weights_option(parser)
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 lets other machines in (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, help="default: the first free one from 7860 on")
    args = parser.parse_args(argv)
    if find_spec(EXTRA) is None:
        raise UserError("Gradio is not installed: `make app` installs it, as does pip install -e '.[app]'")
    with terminated_as_interrupted(), tempfile.TemporaryDirectory(prefix="vidtwin-app-") as place:
        show(args.weights, args.host, args.port, Path(place))


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM ends what is within as Ctrl-C does, so that it tidies up."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def show(weights: Path, host: str, port: int | None, place: Path) -> None:
    """Serve the page until the process is interrupted; all files that it makes or is given lie in `place`."""
    os.environ |= {"GRADIO_TEMP_DIR": str(place / "gradio"), "GRADIO_ANALYTICS_ENABLED": "False"}
    from app.examples import find_examples
    from app.page import build, serve  # which import Gradio, and so read these

    models = open_weights(weights, distributed.device())
    page = build(models, find_examples(models, place), place)
    try:
        print(f"{models.name} is shown at {serve(page, host, port)} (Ctrl-C ends it)", flush=True)
        threading.Event().wait()
    finally:
        page.close(verbose=False)


if __name__ == "__main__":
    sys.exit(main())
