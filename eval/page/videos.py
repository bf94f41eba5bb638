"""Sections of videos that play in step: clips in their parts, swaps, samples, and what other commands filmed."""

from collections.abc import Sequence
from pathlib import Path

from eval.page.media import Media
from eval.page.run import Missing, Run, Section

PLAYERS = Path("evaluation/players")
CONTINUED = "continuation.json"


def parts(run: Run, media: Media) -> Section | None:
    columns = ("original", "reconstruction", "structure", "dynamics")
    written = run.json(f"{PLAYERS}/players.json").get("parts", [])
    shown = [(clip["class"], columns, clip["file"]) for clip in written]
    return players(
        run,
        media,
        shown,
        "latents",
        "What each latent holds",
        "Test videos, what both latents together decode to, and what each decodes to alone: structure should show what "
        "stays, dynamics what moves.",
    )


def swaps(run: Run, media: Media) -> Section | None:
    written = run.json(f"{PLAYERS}/players.json").get("swaps", [])
    columns = ("structure from", "dynamics from", "both joined")
    shown = [(named_pair(clip["structure"], clip["dynamics"]), columns, clip["file"]) for clip in written]
    return players(
        run,
        media,
        shown,
        "swaps",
        "Cross-reenactment",
        "The structure of one video with the dynamics of another. The better the two are told apart, the more the "
        "third picture looks like the first and moves like the second.",
    )


def named_pair(structure: str, dynamics: str) -> str:
    return f"{structure} + {dynamics}" if structure or dynamics else ""


def samples(run: Run, media: Media) -> Section | Missing | None:
    found = run.json(f"{PLAYERS}/players.json")
    if not found.get("samples"):
        trained = (run.folder / "generator/weights/ema").is_dir()
        target = "sample" if trained else "stage2"
        return Missing("Generated videos", f"make {target} RUN={run.name}")
    shares = run.figures.get("accuracy_by_class", {})
    shown = [(sampled(each, shares), (), each["file"]) for each in found["samples"]]
    some = f"{len(shown)} of {found['sampled_classes']} classes, " if len(shown) < found["sampled_classes"] else ""
    judged = "; beside its name, how many a classifier recognises as that" if shares else ""
    return players(
        run,
        media,
        shown,
        "samples",
        "Generated videos",
        f"Made of noise for the class that was asked for; {some}the first of each, none picked{judged}.",
        "grids",
    )


def sampled(each: dict, shares: dict[str, float]) -> str:
    name, made = each["class"] or "all", each["made"]
    if name not in shares:
        return f"{name} · {made} made"
    return f"{name} · {round(shares[name] * made)} of {made} right"


def longer(run: Run, media: Media) -> Section | None:
    """Samples of several windows, wherever `eval.generation.continuation` was told to leave them."""
    folders = [file.parent for file in run.find(f"**/{CONTINUED}")]
    shown = [(folder.name, (), folder / "videos.mp4") for folder in folders]
    pictures = [uri for folder in folders if (uri := media(folder / "continuation.png"))]
    return players(
        run,
        media,
        shown,
        "longer",
        "Longer than a window",
        "Each window is drawn for the one before it. Below: how much frames change inside windows and across their "
        "joints, whether the motion stays the class that was asked for, and whether brightness drifts.",
        "wide",
        pictures,
    )


def players(
    run: Run,
    media: Media,
    shown: list[tuple[str, tuple[str, ...], str | Path]],
    anchor: str,
    title: str,
    lead: str,
    layout: str = "strips",
    pictures: Sequence[str] = (),
) -> Section | None:
    """A player for each video that fits: its name, the names of its columns, its file."""
    found = [
        {"title": name, "columns": columns, "uri": uri}
        for name, columns, file in shown
        if (uri := media(run.folder / PLAYERS / file))
    ]
    content = {"players": found, "layout": layout, "pictures": pictures}
    return Section(anchor, title, lead, "players.html", content) if found or pictures else None
