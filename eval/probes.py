"""Linear probes to go along with weights that are given away, fitted on the cached latents of their run.

`python -m eval.probes --run runs/showcase --weights weights/again` writes `probes.safetensors` beside the autoencoder's
weights; the app reads latents with it. How good each is it knows from the run's test clips.
"""

import sys
from copy import deepcopy
from pathlib import Path

from autoencoder.model import VidTwin
from eval.twins.reader import fit_reader, save_reader
from runtime.errors import UserError
from runtime.models import autoencoder_in
from runtime.options import OptionParser
from runtime.precision import DTYPES
from runtime.progress import track
from runtime.script import script
from runtime.weights import load_model, weights_hash


def give(run: Path, folder: Path) -> Path:
    """Write the probes of a run beside the weights in an autoencoder's folder; the file.

    Raises `UserError` for weights that are not the run's, in whatever precision.
    """
    model, given = load_model(VidTwin, run / "weights/ema"), load_model(VidTwin, folder)
    if weights_hash(given) not in {weights_hash(deepcopy(model).to(dtype).float()) for dtype in DTYPES.values()}:
        raise UserError(f"{folder} holds other weights than {run}; export the run's own")
    return save_reader(fit_reader(run, model, track), folder, given)


@script
def main(argv: list[str]) -> None:
    parser = OptionParser(description="Linear probes of a run's latents, to go along with its exported weights.")
    parser.add_argument("--run", type=Path, required=True, help="a run of stage one with cached latents")
    parser.add_argument("--weights", type=Path, required=True, help="what was exported of it: a pipeline's folder")
    args = parser.parse_args(argv)
    print(f"{give(args.run, autoencoder_in(args.weights))}: probes that read its latents")


if __name__ == "__main__":
    sys.exit(main())
