"""Run videos of any length through a VidTwin and write what comes out.

`python -m autoencoder.reconstruct VIDEO` writes original, reconstruction, structure only and dynamics only side by
side; a folder in place of VIDEO does so for every video in it, and where it stopped the same command goes on;
`--structure_from A --dynamics_from B` is the cross-reenactment of a pair. `--weights runs/demo` takes others than the
showcase's. A model has one size: of every frame it sees the middle, in its shape, resized.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from autoencoder.model import VidTwin
from autoencoder.trained.panels import PANELS, four_panels
from autoencoder.trained.windows import model_windows, to_frames
from data.folder import SUFFIXES, find_videos
from data.latents import TwinLatents
from data.video.frames import BadVideo, VideoInfo, has_audio, probe, stream_frames, write_video
from runtime import distributed
from runtime.errors import UserError
from runtime.files import write_json
from runtime.models import add_weights_option, autoencoder_in
from runtime.options import OptionParser
from runtime.precision import DTYPES, USES, Computed, computing_in, precision_of_use
from runtime.progress import track
from runtime.script import script
from runtime.weights import load_model, weights_hash

MARK = "weights.json"


def panels(model: VidTwin, path: Path) -> Iterator[Tensor]:
    """Frames of the four panels, exactly as many as the file has."""
    for video, new in model_windows(model, stream_frames(path)):
        yield from to_frames(four_panels(model, video), new)


@torch.inference_mode()
def reenact(model: VidTwin, structure_from: Path, dynamics_from: Path, frames: int) -> Iterator[Tensor]:
    """The first `frames` frames of structure donor | dynamics donor | both joined."""
    donors = (model_windows(model, islice(stream_frames(path), frames)) for path in (structure_from, dynamics_from))
    for (a, new), (b, _) in zip(*donors, strict=True):
        joined = model.decode(TwinLatents(model.encode(a).mode().structure, model.encode(b).mode().dynamics))
        yield from to_frames(torch.cat([a, b, joined], dim=-1), new)


def write_panels(model: VidTwin, path: Path, out: Path) -> None:
    info = describe(path)
    write_video(out, track(panels(model, path), info.frames, path.name, "frames"), info.fps)
    print(f"{out}: {', '.join(PANELS)}; {info.frames} frames at {info.fps:g} fps{resized(model, info)}")


def write_all_panels(model: VidTwin, precision: Computed, folder: Path, out: Path) -> None:
    """The panels of every video below `folder`, at the same place below `out`; files that stand there are kept.

    A video that cannot be read is named and left out. Raises `UserError` when none can be, when there is none, or
    when `out` holds what other weights made, or these in another precision.
    """
    names = videos_outside(folder, out)
    claim(out, model, precision)
    places = {name: out / place for name, place in mirrored(names).items()}
    missing = [name for name in names if not places[name].exists()]
    bad = 0
    for name in missing:
        places[name].parent.mkdir(parents=True, exist_ok=True)
        try:
            write_panels(model, folder / name, places[name])
        except BadVideo as error:
            print(f"{error}; left out", file=sys.stderr)
            bad += 1
    if bad == len(names):
        raise UserError(f"none of the {bad} videos in {folder} can be read")
    print(f"{out}: {len(missing) - bad} written, {len(names) - len(missing)} already there, {bad} bad")


def videos_outside(folder: Path, out: Path) -> list[str]:
    """All videos below `folder` but those below `out`, which may stand inside it."""
    home, place = folder.resolve(), out.resolve()
    if place == home:
        raise UserError(f"--out {out} is the folder of the videos themselves; choose another place")
    inside = place.is_relative_to(home)
    names = [name for name in find_videos(home) if not (inside and (home / name).is_relative_to(place))]
    if not names:
        raise UserError(f"{folder} holds no videos ({', '.join(sorted(SUFFIXES))})")
    return names


def claim(out: Path, model: VidTwin, precision: Computed) -> None:
    """Mark `out` as this model's in this precision: a later run with another must not take its files for finished."""
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file; a folder of videos needs a folder to write to")
    mark, source = out / MARK, {"weights": weights_hash(model), "precision": precision}
    if mark.exists() and json.loads(mark.read_text()) != source:
        raise UserError(
            f"{out} holds reconstructions by other weights or in another precision than {precision}; remove it or "
            "choose another --out"
        )
    out.mkdir(parents=True, exist_ok=True)
    write_json(mark, source)


def mirrored(names: Sequence[str]) -> dict[str, Path]:
    """Where each video's panels go: its name with `.mp4` for its suffix, or behind it where two would be one."""
    stems = Counter(Path(name).with_suffix("") for name in names)
    return {
        name: path.with_suffix(".mp4") if stems[path.with_suffix("")] == 1 else path.with_name(f"{path.name}.mp4")
        for name, path in ((name, Path(name)) for name in names)
    }


def write_reenactment(model: VidTwin, structure_from: Path, dynamics_from: Path, out: Path) -> None:
    infos = [describe(path) for path in (structure_from, dynamics_from)]
    shorter = min(info.frames for info in infos)
    frames = reenact(model, structure_from, dynamics_from, shorter)
    write_video(out, track(frames, shorter, "reenactment", "frames"), infos[1].fps)
    print(f"{out}: structure donor, dynamics donor, both joined; {shorter} frames at {infos[1].fps:g} fps")


def resized(model: VidTwin, info: VideoInfo) -> str:
    """What becomes of frames that are not of the model's size."""
    size = model.typed_config.height, model.typed_config.width
    if (info.height, info.width) == size:
        return ""
    return f"; the middle of {info.width}×{info.height} pixels, at {size[1]}×{size[0]}"


def describe(path: Path) -> VideoInfo:
    if has_audio(path):
        print(f"{path.name}: its audio is left out", file=sys.stderr)
    return probe(path)


def write(model: VidTwin, precision: Computed, video: Path | None, donors: tuple[Path, Path], out: Path | None) -> None:
    """Panels of a video or of a folder of them, or the donors' reenactment, to `out` or to the default place."""
    if video and video.is_dir():
        write_all_panels(model, precision, video, out or Path(f"{video.resolve().name}-vidtwin"))
    elif video:
        write_panels(model, video, out or Path(f"{video.stem}-vidtwin.mp4"))
    else:
        write_reenactment(model, *donors, out or Path(f"{donors[0].stem}-{donors[1].stem}-vidtwin.mp4"))


@script
def main(argv: list[str]) -> None:
    parser = OptionParser(description="Reconstruct videos, or join the structure of one with the dynamics of another.")
    parser.add_argument("video", nargs="?", type=Path, help="a video, or a folder of them")
    add_weights_option(parser)
    parser.add_argument("--structure_from", type=Path, metavar="A")
    parser.add_argument("--dynamics_from", type=Path, metavar="B")
    parser.add_argument("--precision", choices=USES, default="auto", help="auto: bf16 on a GPU, fp32 on a CPU")
    parser.add_argument(
        "--out",
        type=Path,
        help="the mp4 to write (default: <video>-vidtwin.mp4 in the working folder), "
        "or for a folder the folder (default: <folder>-vidtwin)",
    )
    args = parser.parse_args(argv)
    donors = args.structure_from, args.dynamics_from
    if bool(args.video) == any(donors) or any(donors) != all(donors):
        raise UserError("give either one VIDEO or folder, or both --structure_from A and --dynamics_from B")
    device = distributed.device()
    model = load_model(VidTwin, autoencoder_in(args.weights)).to(device)
    precision = precision_of_use(args.precision, device)
    with computing_in(DTYPES[precision], device):
        write(model, precision, args.video, donors, args.out)


if __name__ == "__main__":
    sys.exit(main())
