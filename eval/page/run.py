"""A run's folder, as far as the page reads it; and what a section of the page is."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Run:
    """The folder of a run. Files that are not there are empty."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    def json(self, name: str) -> Any:
        file = self.folder / name
        return json.loads(file.read_text()) if file.is_file() else {}

    def rows(self, name: str) -> list[dict[str, float]]:
        """Of a file with an object in each line."""
        file = self.folder / name
        return [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []

    def find(self, pattern: str) -> list[Path]:
        return sorted(self.folder.glob(pattern))

    @property
    def figures(self) -> dict[str, Any]:
        """What `eval.report` measured."""
        return self.json("evaluation/report.json")


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        anchor: its place in links.
        lead: what is to be seen, in a sentence or two.
        template: the file in `templates/` that shows `content`.
    """

    anchor: str
    title: str
    lead: str
    template: str
    content: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Missing:
    """What is not there, and the command that makes it."""

    what: str
    command: str
