"""What is in every file of a data set, kept in a JSON file so that only new and changed files are looked into."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import av

from data.video.inspector import Unfinished, from_json, inspect_all, to_json
from data.video.probe import BadVideo, VideoInfo
from runtime import distributed
from runtime.files import write_json
from runtime.progress import Progress

VERSION = f"1, av {av.__version__}"  # of the findings: of their form, and of the decoder that made them

QUIET = 3.0  # seconds without a line of progress: a handful of videos needs none


def survey(root: Path, names: Sequence[str], cache: Path | None = None) -> list[VideoInfo | BadVideo]:
    """What each file below `root` holds, or why it cannot be read, in the order of `names`.

    With `cache`, a folder, findings are taken from its `index-<root>.json` where size and time of a video are as they
    were, and the main process adds the new ones to it. Other videos' findings stay in it.
    """
    kept = cache and cache / index_name(root)
    known = _read(kept, root) if kept else {}
    stamps = {name: _stamp(root / name) for name in names}
    missing = [name for name in names if stamps[name] is None or known.get(name, {}).get("stamp") != stamps[name]]
    found = dict(zip(missing, _inspect([root / name for name in missing]), strict=True))
    fresh = {
        name: {"stamp": stamps[name], **({"reason": each.reason} if isinstance(each, BadVideo) else to_json(each))}
        for name, each in found.items()
        if stamps[name] is not None and not isinstance(each, Unfinished)
    }
    if kept and fresh and distributed.is_main():
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_json(kept, {"version": VERSION, "root": str(root.resolve()), "files": {**known, **fresh}})
    return [found[name] if name in found else _from_cache(root / name, known[name]) for name in names]


def index_name(root: Path) -> str:
    """One for each data set, so that several are kept in one folder."""
    return f"index-{hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:8]}.json"


def _inspect(paths: Sequence[Path]) -> list[VideoInfo | BadVideo]:
    progress, found = Progress("indexing", len(paths), "videos"), []
    for each in inspect_all(paths):
        found.append(each)
        progress.show = distributed.is_main() and progress.elapsed > QUIET
        progress.advance()
    return found


def _stamp(path: Path) -> list[int] | None:
    """Size and time of change; None for what is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


def _read(kept: Path, root: Path) -> dict[str, dict]:
    """The findings in a file; none if it is damaged, of another data set or made by another decoder."""
    try:
        content = json.loads(kept.read_text())
        valid = (content["version"], content["root"]) == (VERSION, str(root.resolve()))
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return content["files"] if valid else {}


def _from_cache(path: Path, finding: dict) -> VideoInfo | BadVideo:
    if "reason" in finding:
        return BadVideo(path, finding["reason"])
    return from_json(path, {key: value for key, value in finding.items() if key != "stamp"})
