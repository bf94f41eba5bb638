"""The variants of an ablation: a base, and lists of settings in which each differs from it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from generator.stage2 import Stage2Config
from runtime.config import load, plain
from runtime.errors import UserError

BASE = "base"


@dataclass(frozen=True)
class Variant:
    """A row of the table.

    Attributes:
        changes: what differs from the base, dotted settings and their values.
        after: the variant that it is added to, if not to the base.
    """

    name: str
    base: Path
    changes: dict[str, object]
    after: str = ""

    @property
    def overrides(self) -> list[str]:
        """The changes as a command line gives them."""
        return [word for key, value in self.changes.items() for word in (f"--{key}", _word(value))]

    def config(self, *overrides: str) -> Stage2Config:
        """The whole configuration. Raises `UserError` for a setting that there is not."""
        try:
            return load(Stage2Config, self.base, [*self.overrides, *overrides])
        except UserError as error:
            raise UserError(f"variant {self.name}: {error}") from error

    @property
    def slug(self) -> str:
        """The name, for a folder."""
        return re.sub(r"[^a-z0-9.]+", "_", self.name.lower()).strip("_")


def _word(value: object) -> str:
    return yaml.safe_dump(plain(value), default_flow_style=True).removesuffix("\n").removesuffix("\n...")


def read_variants(path: Path) -> list[Variant]:
    """The base, the variants `alone`, and those `together`.

    Raises:
        UserError: a file that is no list of variants, or a variant that is no configuration.
    """
    if not path.is_file():
        raise UserError(f"there is no list of variants {path}; one comes with the project, configs/ablation/")
    content = yaml.safe_load(path.read_text())
    if not isinstance(content, dict) or not content.keys() <= {"base", "alone", "together"} or "base" not in content:
        raise UserError(f"{path} is no list of variants: it holds base, alone and together, and no others")
    base, alone = path.parent / content["base"], content.get("alone") or {}
    variants = [Variant(BASE, base, {}), *(Variant(name, base, changes) for name, changes in alone.items())]
    variants += _together(base, alone, content.get("together") or [])
    for variant in variants:
        variant.config()
    return variants


def _together(base: Path, alone: dict[str, dict[str, object]], steps: Sequence[Sequence[str]]) -> list[Variant]:
    """A row for each step but the first, with the changes of all steps up to it."""
    unknown = [name for step in steps for name in step if name not in alone]
    if unknown:
        raise UserError(f"together names {unknown[0]}, which is not among the variants alone: {', '.join(alone)}")
    rows, changes, after = [], {}, ""
    for step in steps:
        changes = changes | {key: value for name in step for key, value in alone[name].items()}
        name = f"+ {', '.join(step)}" if after else ", ".join(step)
        if after:
            rows.append(Variant(name, base, changes, after))
        after = name
    return rows
