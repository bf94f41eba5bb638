"""How fast a VidTwin runs and trains on this machine, and how near that is to what the machine could do.

`python -m autoencoder.bench configs/stage1/base.yaml --batch_size 1 --output bench.json [--engine.precision fp32 ...]`

Every row is measured in a process of its own, so that its peak memory is its own: the median of a few repeats after a
warm-up. FLOPs are counted on meta tensors; the matrix rate is measured in the same process. Where the configuration
compiles (`--engine.compile`), all rows are compiled: `encode` and `decode` as `torch.compile(model.encode)` gives them.
The project's own scripts that use a trained model (cache, sample, reconstruct, eval) run it as it is, not compiled.
"""

import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from itertools import repeat
from pathlib import Path

import torch
from torch import Tensor

from autoencoder.flops import inference_flops, training_flops
from autoencoder.losses.flops import loss_flops
from autoencoder.losses.perceptual import vgg_path
from autoencoder.model import VidTwin
from autoencoder.stage1.config import Stage1Config
from autoencoder.train import build, training_step
from runtime import distributed
from runtime.config import load
from runtime.errors import UserError
from runtime.files import write_json
from runtime.measurement import Measurement, apart, print_table
from runtime.options import OptionParser
from runtime.progress import track
from runtime.random import generator
from runtime.script import quiet_libraries, script
from runtime.training.run import RunFolder


class Workload:
    """What can be measured of a configuration, each with the FLOPs of one clip."""

    def __init__(self, config: Stage1Config, batch: int) -> None:
        self.config, self.batch = config, batch
        self.device, self.dtype = distributed.device(), config.engine.dtype

    def model(self) -> VidTwin:
        torch.manual_seed(0)
        model = VidTwin.from_config_fields(self.config.model)
        if self.config.engine.checkpoint_activations:
            model.enable_gradient_checkpointing()
        return model.to(self.device, self.dtype)

    def compiled(self, run: Callable) -> Callable:
        """A model, or one of its methods, as the configuration says."""
        return torch.compile(run) if self.config.engine.compiles(self.device) else run

    def pixels(self) -> Tensor:
        numbers = generator("bench")
        return torch.randint(256, (self.batch, 3, *self.config.model.video_shape), generator=numbers).byte()

    def video(self) -> Tensor:
        return (self.pixels().to(self.device) / 127.5 - 1).to(self.dtype)

    def encode(self) -> tuple[Callable, int]:
        model, video = self.model().eval(), self.video()
        encode = self.compiled(model.encode)
        return inferring(lambda: encode(video)), inference_flops(self.config.model)["encode"]

    def decode(self) -> tuple[Callable, int]:
        model, video = self.model().eval(), self.video()
        latents = inferring(lambda: model.encode(video).mode())()
        decode = self.compiled(model.decode)
        return inferring(lambda: decode(latents)), inference_flops(self.config.model)["decode"]

    def forward(self) -> tuple[Callable, int]:
        model, video = self.compiled(self.model().eval()), self.video()
        return inferring(lambda: model(video)), sum(inference_flops(self.config.model).values())

    def forward_backward(self) -> tuple[Callable, int]:
        """Without loss networks and optimizer."""
        model, video = self.compiled(self.model().train()), self.video()

        def run() -> None:
            reconstruction, posterior = model(video)
            ((reconstruction - video).abs().float().mean() + 1e-3 * posterior.kl()).backward()
            model.zero_grad(set_to_none=True)

        return run, training_flops(self.config.model)

    def training_step(self, adversarial: bool, perceptual: bool) -> tuple[Callable, int]:
        """As training does it: both optimizers and the average included."""
        loss = replace(
            self.config.loss,
            adversarial=self.config.loss.adversarial or 0.05 if adversarial else 0.0,
            perceptual=self.config.loss.perceptual or 0.05 if perceptual else 0.0,
            disc_start=0,
            exchange_start=0,
        )
        loop = replace(self.config.loop, batch_size=self.batch, save_every=0)
        engine = replace(self.config.engine, accumulation=1)
        config = replace(self.config, loss=loss, loop=loop, engine=engine, init_from="")
        session, objective = build(config, RunFolder(tempfile.mkdtemp()))
        batch = {"video": self.pixels(), "name": ["random"], "skipped": []}
        flops = training_flops(config.model) + loss_flops(config.model.video_shape, adversarial, perceptual)

        def run() -> None:
            training_step(config, session, objective, repeat(batch))
            session.step += 1

        return run, flops


ROWS: dict[str, Callable[[Workload], tuple[Callable, int]]] = {
    "encode": Workload.encode,
    "decode": Workload.decode,
    "forward": Workload.forward,
    "forward + backward": Workload.forward_backward,
    "training step": lambda work: work.training_step(adversarial=False, perceptual=False),
    "training step + GAN": lambda work: work.training_step(adversarial=True, perceptual=False),
    "training step + LPIPS + GAN": lambda work: work.training_step(adversarial=True, perceptual=True),
}
NEEDS_VGG = "training step + LPIPS + GAN"


def inferring(run: Callable) -> Callable:
    return torch.inference_mode()(run)


def measure(what: str, config: Stage1Config, batch: int, repeats: int) -> Measurement:
    """One row, in this process."""
    quiet_libraries()
    with distributed.processes():
        work = Workload(config, batch)
        run, flops = ROWS[what](work)
        return Measurement.of(what, run, batch, flops, repeats, work.dtype)


@script
def main(argv: list[str]) -> None:
    parser = OptionParser(
        description="Measure encoding, decoding and training of a VidTwin on this machine.",
        epilog="Any setting of the configuration can be overridden, such as --engine.precision fp32.",
    )
    parser.add_argument("config", type=Path, help="YAML file of stage one")
    parser.add_argument("--batch_size", type=int, default=1, help="clips in a forward pass (default 1)")
    parser.add_argument("--repeats", type=int, default=3, help="after two to warm up (default 3)")
    parser.add_argument("--rows", nargs="+", choices=ROWS, metavar="ROW", help=f"some of: {', '.join(ROWS)}")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    args, overrides = parser.parse_known_args(argv)
    if args.batch_size < 1 or args.repeats < 1:
        raise UserError("--batch_size and --repeats must be positive")
    config = load(Stage1Config, args.config, overrides, parser.options)
    chosen = list(args.rows or ROWS)
    if NEEDS_VGG in chosen and not vgg_path().is_file():
        chosen.remove(NEEDS_VGG)
        print(f"left out: {NEEDS_VGG}, which needs {vgg_path()}", file=sys.stderr)
    measured = (apart(measure, what, config, args.batch_size, args.repeats) for what in chosen)
    rows = list(track(measured, len(chosen), "measuring", "rows"))
    print_table(rows, f"{args.config.stem}, {config.engine.precision}, batch {args.batch_size}")
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        write_json(args.output, [row.figures() for row in rows])


if __name__ == "__main__":
    sys.exit(main())
