"""What the documents tell their readers to run, commands, settings, scripts and Python, and what they point to."""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
DOCUMENTS = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
FOLDERS = ("configs", "docs", "tests", *(each.parent.name for each in ROOT.glob("*/__init__.py")))

PROGRAM = re.compile(r"(\.venv/bin/)?(make|python|pip|torchrun|deepspeed|srun|sbatch) \S")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`]+)`")
CONTINUATION = re.compile(r"\\\n\s*")
PATH = re.compile(rf"(?<![\w/.-])(?:{'|'.join(FOLDERS)})/[\w./-]*")
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


class Command(NamedTuple):
    """Words as a shell would pass them on, and where they stand, such as `README.md:23`."""

    place: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.place}: {shlex.join(self.words)}"


class Block(NamedTuple):
    """A fenced block: its language as it is given, and its text."""

    place: str
    language: str
    text: str

    @property
    def is_script(self) -> bool:
        return self.text.startswith("#!")


class Link(NamedTuple):
    """Where it stands, the file that it leads to, and the anchor there, or nothing."""

    place: str
    file: Path
    anchor: str


@cache
def blocks() -> tuple[Block, ...]:
    return tuple(
        Block(place(document, match.string[: match.start(2)]), *match.groups())
        for document in DOCUMENTS
        for match in FENCE.finditer(document.read_text())
    )


@cache
def commands() -> tuple[Command, ...]:
    """Of blocks, scripts left out, and of the prose; what stands twice is named where it stands first."""
    shell = (block for block in blocks() if block.language == "bash" and not block.is_script)
    fenced = (command for block in shell for command in lines(block))
    inline = (Command(where, tuple(shlex.split(span))) for where, span in spans() if re.match(PROGRAM, span))
    first: dict[tuple[str, ...], Command] = {}
    for command in (*fenced, *inline):
        first.setdefault(command.words, command)
    return tuple(first.values())


@cache
def settings() -> tuple[Command, ...]:
    """Options that the prose names, with or without a value, alone or as `ARGS=`."""
    options = ((where, span.removeprefix("ARGS=").strip('"')) for where, span in spans())
    return tuple(Command(where, tuple(option.split())) for where, option in options if re.match(r"--\w", option))


@cache
def paths() -> tuple[tuple[str, str], ...]:
    """Files and folders of the project that are named, and where: in prose, commands and drawings."""
    return tuple(
        (place(document, match.string[: match.start()]), match[0].rstrip("."))
        for document in DOCUMENTS
        for match in PATH.finditer(document.read_text())
    )


@cache
def links() -> tuple[Link, ...]:
    """Those inside the project."""
    return tuple(
        Link(
            place(document, match.string[: match.start()]),
            document.parent / (match[1] or document.name),
            match[2] or "",
        )
        for document in DOCUMENTS
        for match in LINK.finditer(document.read_text())
    )


def anchors(document: Path) -> set[str]:
    """Of a document's headings, as GitHub makes them."""
    headings = HEADING.findall(FENCE.sub("", document.read_text()))
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def lines(block: Block) -> Iterator[Command]:
    """The commands of a block, continued lines joined, comments left out."""
    document, _, first = block.place.partition(":")
    number = int(first)
    for line in re.split(r"(?<!\\)\n", block.text):
        if words := shlex.split(joined(line), comments=True):
            yield Command(f"{document}:{number}", tuple(words))
        number += 1 + line.count("\n")


def joined(text: str) -> str:
    """Lines that end in a backslash as one with the next."""
    return CONTINUATION.sub(" ", text)


def spans() -> Iterator[tuple[str, str]]:
    """What the prose sets as code, in one line."""
    for document in DOCUMENTS:
        prose = FENCE.sub(lambda fence: "\n" * fence[0].count("\n"), document.read_text())
        for match in SPAN.finditer(prose):
            yield place(document, prose[: match.start()]), " ".join(match[1].split())


def place(document: Path, before: str) -> str:
    return f"{document.relative_to(ROOT)}:{before.count(chr(10)) + 1}"
