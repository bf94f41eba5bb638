"""What the run cost, and what it was made with."""

from collections.abc import Callable, Iterable

from eval.page.run import Run, Section

Bars = list[tuple[str, str, float]]
"""Of each its name, its value as it reads, and its length as a share of the longest."""


WORK = {"encode_flops": "encode", "sample_flops": "draw its latents", "decode_flops": "decode"}


def cost(run: Run) -> Section | None:
    rows = run.json("evaluation/cost.json")
    work = [(what, row[name], scaled) for name, what in WORK.items() for row in rows if row.get(name) is not None]
    panels = [
        {"title": "Parameters", "bars": bars((row["name"], row["parameters"], scaled) for row in rows)},
        {"title": "FLOPs of a clip", "bars": bars(work)},
        {
            "title": "FLOPs of a training step",
            "bars": bars((row["name"], row["training_flops"], scaled) for row in rows),
        },
        {
            "title": "Memory of a training step",
            "bars": bars((row["name"], row["training_memory"], in_bytes) for row in rows),
        },
        {"title": "Where the time went", "bars": bars(seconds_of(run))},
    ]
    panels = [panel for panel in panels if panel["bars"]]
    lead = "Of one clip, counted without running it: a multiply-add is two FLOPs, memory is that of Adam in training."
    return Section("cost", "What it costs", lead, "bars.html", {"panels": panels}) if panels else None


def bars(values: Iterable[tuple[str, float, Callable[[float], str]]]) -> Bars:
    found = list(values)
    longest = max((value for _, value, _ in found), default=0) or 1
    return [(name, form(value), value / longest) for name, value, form in found]


def scaled(number: float) -> str:
    """`1.234e12` to `1.23 T`."""
    for prefix in ("", "K", "M", "G", "T"):
        if number < 1000:
            return f"{number:.3g} {prefix}"
        number /= 1000
    return f"{number:.3g} P"


def in_bytes(number: float) -> str:
    return f"{scaled(number)}B"


def seconds_of(run: Run) -> Iterable[tuple[str, float, Callable[[float], str]]]:
    return ((name, step["seconds"], clock) for name, step in run.json("steps.json").items())


def clock(seconds: float) -> str:
    return f"{seconds // 60:.0f}:{seconds % 60:02.0f} min"


def environment(run: Run) -> Section | None:
    stages = {"stage one": run.json("environment.json"), "stage two": run.json("generator/environment.json")}
    rows = [(name, told) for name, found in stages.items() if found for told in [dict(lines(found))]]
    lead = "Commit, command and versions that trained it."
    return Section("environment", "Made with", lead, "environment.html", {"stages": rows}) if rows else None


def lines(found: dict) -> Iterable[tuple[str, str]]:
    yield "commit", str(found.get("commit"))
    yield "command", " ".join(found.get("command", []))
    yield "Python", str(found.get("python"))
    yield "packages", ", ".join(f"{name} {version}" for name, version in found.get("packages", {}).items())
    yield "devices", f"{found.get('world_size')} × {', '.join(found.get('devices', []))}"
