"""The built-in data set: ten motion classes as a folder in UCF-101's own shape.

    python -m data.synthetic OUT --videos_per_class 60 --seed 0

writes `OUT/UCF-101/<Class>/v_<Class>_g<NN>_c<NN>.avi`, `OUT/ucfTrainTestlist/`, and in `OUT/factors.json` what each
clip is made of. As in UCF-101, the clips of a group share their appearance, and each official split keeps whole groups
for testing. `OUT/dataset.json` records the settings; an interrupted run goes on where it stopped, and the lists,
written last, mark a complete set. With `--seconds 8` the same videos go on for longer.
"""

import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import torch

from data.synthetic.animation import write_clip
from data.synthetic.factors import FACTORS, write_factors
from data.synthetic.motions import MOTIONS
from data.synthetic.plan import RECORD, plan_clips, write_lists
from runtime.errors import UserError
from runtime.files import write_text
from runtime.options import OptionParser
from runtime.progress import track
from runtime.script import script
from runtime.workers import DeafWorkers


def write_dataset(root: Path, videos_per_class: int, seed: int, seconds: float | None = None) -> int:
    """Write the data set below `root`, keeping the videos that are there; returns how many were missing.

    Raises `UserError` for videos of less than a second, and when `root` holds something else, another setting's data
    set included, or cannot be written.
    """
    clips = plan_clips(videos_per_class)
    if seconds is not None and seconds < 1:
        raise UserError(f"videos of {seconds:g} seconds are too short to show a motion; give --seconds 1 or more")
    length = {} if seconds is None else {"seconds": seconds}
    videos = root / "UCF-101"
    try:
        _claim(root, {"videos_per_class": videos_per_class, "seed": seed, **length})
        for name in MOTIONS:
            (videos / name).mkdir(parents=True, exist_ok=True)
        missing = [clip for clip in clips if not (videos / clip.file).exists()]
        if missing:
            _write_clips([(videos / clip.file, clip.name, *clip.seeds(seed), seconds) for clip in missing])
        if not (root / FACTORS).exists():
            write_factors(root, clips, seed, seconds)
        write_lists(root / "ucfTrainTestlist", clips)
    except OSError as error:
        raise UserError(
            f"cannot write to {root}: {error.strerror}; make room there or choose another folder"
        ) from error
    return len(missing)


def _claim(root: Path, settings: dict[str, int | float]) -> None:
    """Make `root` this data set's, or find that it is already, before anything else is written."""
    record = root / RECORD
    if record.exists():
        try:
            found = json.loads(record.read_text())
        except ValueError as error:
            raise UserError(f"{record} is damaged; remove {root} or choose another folder") from error
        if found != settings:
            raise UserError(f"{root} holds a data set of other settings, {found}; use them or choose another folder")
    elif any((root / name).exists() for name in ("UCF-101", "ucfTrainTestlist")):
        raise UserError(f"{root} holds videos that are not of the built-in data set; choose another folder")
    else:
        root.mkdir(parents=True, exist_ok=True)
        write_text(record, json.dumps(settings) + "\n")


def _write_clips(jobs: list[tuple[Path, str, int, int, float | None]]) -> None:
    workers = min(os.cpu_count() or 1, len(jobs))
    # An interrupt is left to this process, which finishes the clips in hand.
    pool = ProcessPoolExecutor(workers, mp_context=DeafWorkers(), initializer=torch.set_num_threads, initargs=(1,))
    futures = [pool.submit(write_clip, *job) for job in jobs]
    try:
        for done in track(as_completed(futures), len(jobs), "writing", "videos"):
            done.result()
    finally:
        pool.shutdown(cancel_futures=True)


@script
def main(argv: list[str]) -> None:
    parser = OptionParser(prog="data.synthetic", description="Write the built-in data set.")
    parser.add_argument("out", type=Path, metavar="OUT", help="the folder to write to")
    parser.add_argument("--videos_per_class", type=int, default=60, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="S")
    parser.add_argument("--seconds", type=float, metavar="T", help="length of a video (default: 2 to 3, by chance)")
    args = parser.parse_args(argv)
    written = write_dataset(args.out, args.videos_per_class, args.seed, args.seconds)
    state = f"{written} videos written" if written else "nothing to do"
    print(f"{args.out}: {len(MOTIONS)} classes, {args.videos_per_class} videos each, complete ({state})")


if __name__ == "__main__":
    sys.exit(main())
