"""One HTML file of a run: sections into templates, style and script into the page, nothing fetched from anywhere."""

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from eval.page.machine import cost, environment
from eval.page.media import Media
from eval.page.results import conditional, curves, decoupling, protocols, sweep
from eval.page.run import Missing, Run, Section
from eval.page.summary import summary
from eval.page.tables import tables
from eval.page.videos import longer, parts, samples, swaps
from runtime.files import write_text

REPORT = "report.html"


def write_page(folder: Path) -> Path:
    """`report.html` of a run that `eval.report` has measured, and where it lies."""
    run, media = Run(folder), Media()
    found = [section for section in sections(run, media) if section]
    loader = PackageLoader("eval.page")
    # Names of files, classes and videos are other people's text: all is escaped that does not say it is markup.
    templates = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    style, script = (Markup(loader.get_source(templates, name)[0]) for name in ("style.css", "page.js"))
    page = templates.get_template("page.html").render(
        name=run.name,
        sections=[each for each in found if isinstance(each, Section)],
        missing=[each for each in found if isinstance(each, Missing)],
        left_out=media.left_out,
        style=style,
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    write_text(folder / REPORT, page)
    return folder / REPORT


def sections(run: Run, media: Media) -> Iterator[Section | Missing | None]:
    """In the order of the page, in which media are taken, too: what comes first is left out last."""
    yield summary(run)
    yield parts(run, media)
    yield swaps(run, media)
    yield decoupling(run, media)
    yield samples(run, media)
    yield conditional(run, media)
    yield longer(run, media)
    yield sweep(run, media)
    yield tables(run, media)
    yield protocols(run)
    yield curves(run)
    yield cost(run)
    yield environment(run)
