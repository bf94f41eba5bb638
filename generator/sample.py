"""Generate videos of given classes.

`python generator/sample.py --weights runs/NAME/weights/ema --classes Archery,Surfing --num 16 --out DIR`
"""

import json
import shutil
import sys
from contextlib import suppress
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from data.video.frames import write_video
from generator.diffusion import initial_noise
from generator.grid import film_strips, labelled_grid, to_bytes
from generator.pipeline import VidTwinPipeline, load_pipeline
from generator.samples import SAMPLES, SETTINGS
from runtime import distributed
from runtime.errors import UserError
from runtime.files import write_json
from runtime.options import OptionParser
from runtime.precision import DTYPES, USES, Use, computing_in, precision_of_use
from runtime.progress import Progress
from runtime.random import seed_of
from runtime.script import script
from runtime.tensors import save_tensors
from runtime.weights import weights_hash

GRID_VIDEOS = 64


def chosen_classes(names: str, known: tuple[str, ...]) -> list[int]:
    """The labels of comma-separated class names; all of them for an empty string."""
    wanted = [name.strip() for name in names.split(",") if name.strip()] or list(known)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise UserError(f"no class is named {unknown[0]}; this generator knows {', '.join(known)}")
    return [known.index(name) for name in wanted]


def generate(
    pipeline: VidTwinPipeline,
    labels: Tensor,
    parts: Path,
    seed: int,
    steps: int,
    guidance: float,
    batch_size: int,
) -> None:
    """Write this process's batches of samples as files in `parts`; those that are there are kept."""
    total, layout = len(labels), pipeline.transformer.layout
    starts = range(0, total, batch_size)[distributed.rank() :: distributed.world_size()]
    progress = Progress(
        "sampling", sum(min(batch_size, total - s) for s in starts), "videos", show=distributed.is_main()
    )
    for start in starts:
        indices = list(range(start, min(start + batch_size, total)))
        if not part(parts, start).exists():
            noise = initial_noise(seed, indices, layout.structure_shape, layout.dynamics_shape)
            drawn = pipeline(labels[indices].tolist(), steps, guidance, latents=[noise], output_type="pt")
            latents = drawn.latents[0]
            tensors = {
                "videos": to_bytes(drawn.frames),
                "structure": latents.structure.contiguous().cpu(),
                "dynamics": latents.dynamics.contiguous().cpu(),
                "labels": labels[indices],
            }
            save_tensors(part(parts, start), tensors)
        progress.advance(len(indices))


def part(parts: Path, start: int) -> Path:
    return parts / f"{start:08}.safetensors"


def parts_folder(out: Path, *settings: object) -> Path:
    """Where unfinished samples of these settings are kept, so that those of others are never mixed in."""
    return out / f".parts_{seed_of(repr(settings)):016x}"


def collect(out: Path, parts: Path, total: int, batch_size: int) -> dict[str, Tensor]:
    """Join the parts into `samples.safetensors` and remove them."""
    rows = [load_file(part(parts, start)) for start in range(0, total, batch_size)]
    tensors = {name: torch.cat([row[name] for row in rows]) for name in rows[0]}
    save_tensors(out / SAMPLES, tensors)
    shutil.rmtree(parts)
    return tensors


def remove_earlier(out: Path) -> None:
    """Remove the videos that an earlier sampling recorded as its own, and the class folders that this empties."""
    record = out / SETTINGS
    earlier = json.loads(record.read_text()).get("videos", []) if record.is_file() else []
    for name in earlier:
        (out / name).unlink(missing_ok=True)
        with suppress(OSError):  # it holds something else
            (out / name).parent.rmdir()


def write_for_the_eye(out: Path, tensors: dict[str, Tensor], classes: tuple[str, ...], fps: float) -> list[str]:
    """`<Class>/<i>.mp4` for each sample, which are returned, `grid.mp4` and `grid.png` for the first of them."""
    names = [classes[label] for label in tensors["labels"].tolist()]
    files = [f"{name}/{i:05}.mp4" for i, name in enumerate(names)]
    for file, video in zip(files, tensors["videos"], strict=True):
        (out / file).parent.mkdir(exist_ok=True)
        write_video(out / file, video, fps)
    shown = tensors["videos"][:GRID_VIDEOS]
    write_video(out / "grid.mp4", labelled_grid(shown, names[:GRID_VIDEOS]), fps)
    film_strips(shown[:20], names[:20]).save(out / "grid.png")
    return files


def write_samples(
    weights: str,
    classes: str,
    num: int,
    steps: int | None,
    guidance: float | None,
    seed: int,
    batch_size: int,
    precision: Use,
    fps: float | None,
    out: Path,
) -> None:
    """The whole of what the script does; see its options for the meaning of the arguments."""
    pipeline = load_pipeline(weights)
    known, sampling = tuple(pipeline.config.classes), pipeline.config
    chosen = chosen_classes(classes, known)
    labels = torch.tensor([chosen[i % len(chosen)] for i in range(num)])
    steps = steps or sampling.num_inference_steps
    guidance = sampling.guidance_scale if guidance is None else guidance
    out.mkdir(parents=True, exist_ok=True)
    pipeline.set_progress_bar_config(disable=True)
    device = distributed.device()
    computed, named = precision_of_use(precision, device), weights_hash(pipeline.transformer)
    parts = parts_folder(out, named, labels.tolist(), seed, steps, guidance, batch_size, computed)
    parts.mkdir(exist_ok=True)
    with computing_in(DTYPES[computed], device):
        generate(pipeline.to(device), labels, parts, seed, steps, guidance, batch_size)
    distributed.barrier()
    if distributed.is_main():
        tensors = collect(out, parts, num, batch_size)
        remove_earlier(out)
        files = write_for_the_eye(out, tensors, known, fps or sampling.fps)
        described = {"weights": str(weights), "num": num, "seed": seed, "steps": steps, "guidance": guidance}
        write_json(out / SETTINGS, {**described, "precision": computed, "videos": files})
    distributed.barrier()


@script
def main(argv: list[str]) -> None:
    parser = OptionParser(description="Generate videos of given classes.")
    parser.add_argument("--weights", required=True, help="a generator's pipeline folder, such as runs/demo/weights/ema")
    parser.add_argument("--classes", default="", help="comma-separated names; all when left out")
    parser.add_argument("--num", type=int, default=16, help="how many videos in total; sample i is of class i mod k")
    parser.add_argument("--steps", type=int, help="solver steps (default: the training configuration's)")
    parser.add_argument("--guidance", type=float, help="classifier-free guidance scale (default: the configuration's)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch_size", type=int, default=16, help="videos in one pass; equal batches give equal bits")
    parser.add_argument("--precision", choices=USES, default="auto", help="auto: bf16 on a GPU, fp32 on a CPU")
    parser.add_argument("--fps", type=float, help="of the mp4 files (default: the rate the autoencoder was trained at)")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    if args.num < 1 or args.batch_size < 1:
        raise UserError("--num and --batch_size must be at least 1")
    with distributed.processes():
        write_samples(**vars(args))
    if distributed.is_main():
        print(f"{args.num} videos in {args.out}: look at {args.out / 'grid.png'} and {args.out / 'grid.mp4'}")


if __name__ == "__main__":
    sys.exit(main())
