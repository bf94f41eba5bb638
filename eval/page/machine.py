"""What the run cost, and what it was made with."""

from collections.abc import Callable, Iterable

from eval.page.run import Run, Section

Bars = list[tuple[str, str, float]]
"""Of each its name, its value as it reads, and its length as a share of the longest."""


def cost(run: Run) -> Section | None:
    rows = run.json("evaluation/cost.json")
    quantities: tuple[tuple[str, str, Callable[[float], str]], ...] = (
        ("parameters", "Parameters", scaled),
        ("encode_flops", "FLOPs to encode a clip", scaled),
        ("decode_flops", "FLOPs to decode a clip", scaled),
        ("sample_flops", "FLOPs to draw a clip’s latents", scaled),
        ("training_flops", "FLOPs of a training step", scaled),
        ("training_memory", "Memory of a training step", lambda size: f"{scaled(size)}B"),
    )
    panels = [
        {"title": title, "bars": bars((row["name"], row[name], form) for row in rows if row.get(name) is not None)}
        for name, title, form in quantities
    ]
    steps = run.json("steps.json").items()
    panels.append(
        {"title": "Where the time went", "bars": bars((name, step["seconds"], clock) for name, step in steps)}
    )
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
