"""YAML and command line to frozen dataclasses, and back to YAML."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from runtime.errors import UserError

Config = TypeVar("Config")


def parse(config_class: type[Config], argv: Sequence[str], description: str) -> tuple[Config, bool]:
    """Read `--config FILE`, then dotted overrides such as `--optimizer.lr 2e-4`, and `--dry-run`.

    Returns the dataclass and whether it is a dry run. Raises `UserError` for an unknown key or a wrong type.
    """
    parser = ArgumentParser(description=description, exit_on_error=False)
    parser.add_argument("--config", action="config", help="YAML file with values; later arguments override it")
    parser.add_argument("--dry-run", action="store_true", help="print parameters, steps, memory and disk, and stop")
    parser.add_class_arguments(config_class, as_group=False)
    try:
        values = parser.parse_args(list(argv))
    except ArgumentError as error:
        raise UserError(f"{error}{_hint(argv, parser.get_defaults().keys())}") from error
    fields = dict(vars(parser.instantiate(values)))
    fields.pop("config")
    dry_run = fields.pop("dry_run")
    return config_class(**fields), dry_run


def _hint(argv: Sequence[str], settings: Iterable[str]) -> str:
    """What unknown options may have been meant for."""
    known = ["--config", "--dry-run", "--help", *(f"--{setting}" for setting in settings)]
    unknown = {word.split("=")[0] for word in argv if word.startswith("--")} - set(known)
    if not unknown:
        return ""
    meant = [name for option in sorted(unknown) for name in _likely(option, known)]
    return f"; did you mean {' or '.join(meant)}?" if meant else "; --help lists all settings"


def _likely(option: str, known: list[str]) -> list[str]:
    """Options with the same last name, or else the nearest in spelling."""
    last = option.lstrip("-").split(".")[-1]
    return [name for name in known if name.endswith(f".{last}")] or get_close_matches(option, known, n=1)


def load(config_class: type[Config], path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """The dataclass that a YAML file describes. Raises `UserError` as `parse` does."""
    if not Path(path).is_file():
        raise UserError(f"there is no configuration {path}; the ones that come with the project are in configs/")
    return parse(config_class, ["--config", str(path), *overrides], "")[0]


def dump(config: object) -> str:
    """The resolved configuration as YAML that `load` reads back."""
    return yaml.safe_dump(plain(asdict(config)), sort_keys=False)


def plain(value: object) -> object:
    """Tuples as lists and paths as strings, all the way down."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value
