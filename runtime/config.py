"""YAML and command line to frozen dataclasses, and back to YAML."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from runtime.errors import UserError
from runtime.options import hint, with_underscores

Config = TypeVar("Config")


def parse(
    config_class: type[Config], argv: Sequence[str], description: str, other_options: Sequence[str] = ()
) -> tuple[Config, bool]:
    """Read `--config FILE`, then dotted overrides such as `--optimizer.lr 2e-4`, and `--dry_run`.

    Returns the dataclass and whether it is a dry run. Raises `UserError` for an unknown key or a wrong type; a script's
    `other_options` are among those that an unknown one may have been meant for.
    """
    parser = ArgumentParser(description=description, exit_on_error=False)
    parser.add_argument("--config", action="config", help="YAML file with values; later arguments override it")
    parser.add_argument("--dry_run", action="store_true", help="print parameters, steps, memory and disk, and stop")
    parser.add_class_arguments(config_class, as_group=False)
    words = with_underscores(argv)
    try:
        values = parser.parse_args(words)
    except ArgumentError as error:
        settings = (name for name in parser._option_string_actions if name.startswith("--"))
        raise UserError(f"{error}{hint(words, [*settings, *other_options])}") from error
    fields = dict(vars(parser.instantiate(values)))
    fields.pop("config")
    dry_run = fields.pop("dry_run")
    return config_class(**fields), dry_run


def load(
    config_class: type[Config], path: str | Path, overrides: Sequence[str] = (), other_options: Sequence[str] = ()
) -> Config:
    """The dataclass that a YAML file describes. Raises `UserError` as `parse` does."""
    if not Path(path).is_file():
        raise UserError(f"there is no configuration {path}; the ones that come with the project are in configs/")
    return parse(config_class, ["--config", str(path), *overrides], "", other_options)[0]


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
