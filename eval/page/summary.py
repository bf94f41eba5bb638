"""What one reads first: the run in a few sentences, and its figures at a glance."""

from typing import Any

from eval.page.run import Run, Section


def summary(run: Run) -> Section:
    figures = run.figures
    return Section("summary", "Summary", in_words(figures), "tiles.html", {"tiles": tiles(run, figures)})


def in_words(figures: dict[str, Any]) -> str:
    """For a reader who knows nothing of the project."""
    frames, height, width = figures["clip"]
    found, psnr = figures.get("accuracy", {}), figures["psnr"]
    said = (
        f"This run turns a video of {frames} frames of {height}×{width} pixels into {figures['values']:,} numbers, "
        f"{figures['rate']:.2%} of what it takes raw, in two parts: structure, meant for what stays, and dynamics, for "
        f"what moves. On {figures['clips']} test videos that it never saw it gives them back at "
        f"{psnr['reconstruction']:.1f} dB"
    )
    gain = psnr["reconstruction"] - psnr["trivial"]
    said += f", {abs(gain):.1f} dB {'above' if gain >= 0 else 'below'} what a still picture of each would reach."
    if "generated" in found:
        said += (
            f" Of the videos that it made up itself, {10 * found['generated']:.0f} in 10 show the motion that was "
            f"asked for, where guessing would give {10 * found['chance']:.0f}."
        )
    return said


def tiles(run: Run, figures: dict[str, Any]) -> list[dict[str, str]]:
    """Value, what it is, and what to hold it against."""
    psnr, found = figures["psnr"], figures.get("accuracy", {})
    shapes = " + ".join("×".join(map(str, shape)) for shape in figures["latents"].values())
    rows = [
        (f"{figures['rate']:.2%}", "of the pixel values are kept", f"{figures['values']:,} numbers: {shapes}"),
        (
            f"{psnr['reconstruction']:.2f} dB",
            "PSNR of reconstructions",
            f"a clip's mean frame: {psnr['trivial']:.2f} dB",
        ),
        (f"{figures['ssim']['reconstruction']:.3f}", "SSIM of reconstructions", "1 is the original"),
    ]
    if "lpips" in figures:
        rows.append((f"{figures['lpips']['reconstruction']:.3f}", "LPIPS of reconstructions", "0 is the original"))
    if "reconstruction" in found:
        share, real = found["reconstruction"], found["real"]
        rows.append((f"{share:.1%}", "of reconstructions keep their motion", f"seen in real videos: {real:.1%}"))
    if "generated" in found:
        rows.append(
            (f"{found['generated']:.1%}", "of generated videos move as asked", f"chance: {found['chance']:.0%}")
        )
    for file in run.find("evaluation/fvd*.json"):
        result = run.json(f"evaluation/{file.name}")
        rows.append((f"{result['fvd']:.1f}", "FVD of generated videos", result["protocol"]))
    if score := run.json("evaluation/decoupling.json").get("score"):
        low, high = score["interval"]
        rows.append(
            (f"{score['value']:.2f}", "decoupling score", f"95 %: {low:.2f} to {high:.2f}; 1 is perfect, 0 chance")
        )
    seconds = sum(step["seconds"] for step in run.json("steps.json").values())
    if seconds:
        rows.append((f"{seconds / 60:.0f} min", "for the whole line", "from nothing to this page"))
    return [dict(zip(("value", "label", "note"), row, strict=True)) for row in rows]
