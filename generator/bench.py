"""How fast a DiT trains and samples on this machine, and how that compares with diffusers' own.

`python -m generator.bench configs/stage2/paper.yaml --batch_size 8 --output bench.json [--model.width 768 ...]`

As `autoencoder.bench`: every row in a process of its own, the median of a few repeats after a warm-up, FLOPs counted on
meta tensors. Latents are random numbers of the released geometry. `--against diffusers` also trains diffusers' own DiT
of the same width, depth, heads and 256 tokens, in turns with ours, in one process.
"""

import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, replace
from itertools import repeat
from pathlib import Path

import torch
from torch import Tensor, nn

from data.latents import TwinLatents
from generator.batches import Batch
from generator.config import DiTConfig
from generator.diffusion import make_objective, make_scheduler, sample
from generator.dit import DiT
from generator.flops import training_flops
from generator.stage2 import Stage2Config
from generator.train import session_of, training_step
from runtime import distributed
from runtime.config import load
from runtime.errors import UserError
from runtime.files import write_json
from runtime.flops import count_flops, timed
from runtime.measurement import WARM_UP, Measurement, apart, print_table
from runtime.options import OptionParser
from runtime.progress import track
from runtime.script import quiet_libraries, script
from runtime.training.run import RunFolder

RELEASED = {"structure_shape": (8, 16, 7, 7), "dynamics_shape": (8, 16, 14), "num_classes": 101}
# 256 tokens of 8 values, as an image of 16×16 pixels with 8 channels has in patches of one.
COMPARED = {"structure_shape": (8, 8, 4, 4), "dynamics_shape": (8, 16, 8), "num_classes": 101}
CHANNELS, SIDE = 8, 16


class Workload:
    """What can be measured of a configuration, each with the FLOPs of one clip."""

    def __init__(self, config: Stage2Config, batch: int) -> None:
        loop = replace(config.loop, batch_size=batch, save_every=0)
        self.config = replace(config, loop=loop, engine=replace(config.engine, accumulation=1))
        self.batch, self.device, self.dtype = batch, distributed.device(), config.engine.dtype
        self.fields = DiTConfig.of(config.model, config.diffusion, **RELEASED)
        self.label = torch.arange(batch, device=self.device) % self.fields.num_classes

    def latents(self) -> TwinLatents:
        shapes = self.fields.structure_shape, self.fields.dynamics_shape
        return TwinLatents(*(torch.randn(self.batch, *shape, device=self.device) for shape in shapes))

    def training_step(self) -> tuple[Callable, int]:
        """As training does it: the optimizer and the averages included."""
        session = session_of(self.config, RunFolder(tempfile.mkdtemp()), self.fields, DiT(**asdict(self.fields)), str)
        batches = repeat(Batch(self.latents(), None, self.label, list(range(self.batch))))
        objective = make_objective(self.config.diffusion)

        def run() -> None:
            training_step(self.config, session, objective, batches)
            session.step += 1

        return run, training_flops(self.fields, self.config.diffusion)

    def sampling(self) -> tuple[Callable, int]:
        """All steps of the solver, with guidance; without decoding."""
        diffusion = self.config.diffusion
        model, noise = DiT(**asdict(self.fields)).to(self.device, self.dtype).eval(), self.latents()

        def draw(model: nn.Module, label: Tensor, noise: TwinLatents) -> None:
            sample(model, make_scheduler(diffusion), label, noise, diffusion.sample_steps, diffusion.guidance)

        calls = CountedCalls(DiT(**asdict(self.fields)).eval())
        one = TwinLatents(*(x[:1].cpu() for x in noise))
        return lambda: draw(model, self.label, noise), count_flops(lambda: draw(calls, self.label[:1].cpu(), one))


class CountedCalls(nn.Module):
    """The FLOPs of a model, wherever it is called: on meta tensors, with an answer of zeros."""

    def __init__(self, model: DiT) -> None:
        super().__init__()
        self.model, self.null_label = model.to("meta"), model.null_label

    def forward(self, noisy: TwinLatents, time: Tensor, label: Tensor) -> TwinLatents:
        self.model(noisy.to("meta"), time.to("meta"), label.to("meta"))
        return TwinLatents(*map(torch.zeros_like, noisy))


ROWS: dict[str, Callable[[Workload], tuple[Callable, int]]] = {
    "training step": Workload.training_step,
    "sampling": Workload.sampling,
}


def measure(what: str, config: Stage2Config, batch: int, repeats: int) -> Measurement:
    """One row, in this process."""
    quiet_libraries()
    with distributed.processes():
        work = Workload(config, batch)
        run, flops = ROWS[what](work)
        return Measurement.of(what, run, batch, flops, repeats, work.dtype)


def compare(config: Stage2Config, batch: int, repeats: int) -> dict[str, float]:
    """Seconds of a training step of ours and of diffusers' DiT, in turns, and their `ratio`: above 1, ours is faster.

    Forward and backward passes and a fused AdamW, of equal width, depth, heads, tokens and values a token.
    """
    quiet_libraries()
    device, dtype = distributed.device(), config.engine.dtype
    torch.manual_seed(0)
    fields = DiTConfig(**asdict(config.model) | {"structure_patch": (1, 1, 1), "dynamics_patch": (1, 1)}, **COMPARED)
    ours, theirs = DiT(**asdict(fields)).to(device, dtype).train(), diffusers_dit(config).to(device, dtype).train()
    shapes = fields.structure_shape, fields.dynamics_shape
    twins = TwinLatents(*(torch.randn(batch, *shape, device=device) for shape in shapes))
    image = torch.randn(batch, CHANNELS, SIDE, SIDE, device=device, dtype=dtype)
    time, label = torch.rand(batch, device=device) * 1000, torch.arange(batch, device=device) % fields.num_classes
    answers = {
        "ours": lambda: ours(twins, time, label),
        "diffusers": lambda: theirs(image, timestep=time, class_labels=label).to_tuple(),
    }
    steps = {
        name: step_of(model, answers[name])
        for name, model in (("ours", compiled(ours, config)), ("diffusers", compiled(theirs, config)))
    }
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(WARM_UP + repeats):
        for name, step in steps.items():
            took = timed(step, device)
            seconds[name] += [took] if number >= WARM_UP else []
    medians = {f"seconds_{name}": statistics.median(each) for name, each in seconds.items()}
    return medians | {"ratio": medians["seconds_diffusers"] / medians["seconds_ours"]}


def diffusers_dit(config: Stage2Config) -> nn.Module:
    from diffusers import DiTTransformer2DModel

    model = config.model
    return DiTTransformer2DModel(
        num_attention_heads=model.num_heads,
        attention_head_dim=model.width // model.num_heads,
        in_channels=CHANNELS,
        num_layers=model.depth,
        sample_size=SIDE,
        patch_size=1,
        num_embeds_ada_norm=COMPARED["num_classes"],
    )


def compiled(model: nn.Module, config: Stage2Config) -> nn.Module:
    """Block by block, as the configuration says, and with its activations computed again if it says so."""
    if config.engine.checkpoint_activations:
        model.enable_gradient_checkpointing()
    if config.engine.compiles(distributed.device()):
        for block in getattr(model, "blocks", None) or model.transformer_blocks:
            block.forward = torch.compile(block.forward)
    return model


def step_of(model: nn.Module, answer: Callable[[], tuple[Tensor, ...]]) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        sum(x.float().square().mean() for x in answer()).backward()
        optimizer.step()

    return step


@script
def main(argv: list[str]) -> None:
    parser = OptionParser(
        description="Measure training and sampling of a DiT on this machine.",
        epilog="Any setting of the configuration can be overridden, such as --engine.precision fp32.",
    )
    parser.add_argument("config", type=Path, help="YAML file of stage two")
    parser.add_argument("--batch_size", type=int, default=8, help="clips in a step (default 8)")
    parser.add_argument("--repeats", type=int, default=5, help="after two to warm up (default 5)")
    parser.add_argument("--rows", nargs="*", choices=ROWS, metavar="ROW", help=f"some of: {', '.join(ROWS)}")
    parser.add_argument("--against", choices=["diffusers"], help="also train diffusers' own DiT, in turns with ours")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    args, overrides = parser.parse_known_args(argv)
    if args.batch_size < 1 or args.repeats < 1:
        raise UserError("--batch_size and --repeats must be positive")
    config = load(Stage2Config, args.config, overrides, parser.options)
    chosen = list(ROWS) if args.rows is None else args.rows
    measured = (apart(measure, what, config, args.batch_size, args.repeats) for what in chosen)
    rows = list(track(measured, len(chosen), "measuring", "rows")) if chosen else []
    found: dict[str, object] = {"rows": [row.figures() for row in rows]}
    if rows:
        print_table(rows, f"{args.config.stem}, {config.engine.precision}, batch {args.batch_size}")
    if args.against:
        found["against"] = apart(compare, config, args.batch_size, args.repeats)
        ours, theirs, ratio = (found["against"][name] for name in ("seconds_ours", "seconds_diffusers", "ratio"))
        print(f"256 tokens: {ours:.3g} s a step, diffusers' DiT {theirs:.3g} s: {ratio:.2f} times its throughput")
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        write_json(args.output, found)


if __name__ == "__main__":
    sys.exit(main())
