"""Options as every script reads them: `-` and `_` are one, and a wrong name is answered with the nearest right one.

What is written by hand says `_`: an option is then spelt as the YAML key and the dataclass field that it sets.
"""

import argparse
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import NoReturn

from runtime.errors import UserError


class OptionParser(argparse.ArgumentParser):
    """An `ArgumentParser` whose errors are `UserError`s of one line. Names are not abbreviated."""

    def __init__(self, description: str, prog: str | None = None, epilog: str | None = None) -> None:
        super().__init__(prog, description=description, epilog=epilog, allow_abbrev=False)
        self.given: Sequence[str] = ()

    @property
    def options(self) -> list[str]:
        return [name for name in self._option_string_actions if name.startswith("--")]

    def parse_known_args(
        self, args: Sequence[str], namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        self.given = with_underscores(args)
        return super().parse_known_args(self.given, namespace)

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}{hint(self.given, self.options)}")


def with_underscores(argv: Iterable[str]) -> list[str]:
    """`--batch-size=a-b` as `--batch_size=a-b`; values and what follows a bare `--` stay as they are."""
    words = list(argv)
    end = words.index("--") if "--" in words else len(words)
    return [_spelt(word) if word.startswith("--") else word for word in words[:end]] + words[end:]


def _spelt(word: str) -> str:
    name, equals, value = word.removeprefix("--").partition("=")
    return f"--{name.replace('-', '_')}{equals}{value}"


def hint(argv: Iterable[str], known: Iterable[str]) -> str:
    """What the options of `argv` that are not `known` may have been meant for; empty where all are known."""
    known = list(known)
    unknown = {word.split("=")[0] for word in argv if word.startswith("--") and word != "--"} - set(known)
    if not unknown:
        return ""
    meant = [name for option in sorted(unknown) for name in _likely(option, known)]
    return f"; did you mean {' or '.join(meant)}?" if meant else "; --help lists all settings"


def _likely(option: str, known: list[str]) -> list[str]:
    """Options with the same last name, or else the nearest in spelling, whole or by the last name alone."""
    last = _last(option)
    if same := [name for name in known if _last(name) == last]:
        return same
    by_last = {_last(name): name for name in known}
    return get_close_matches(option, known, n=1) or [by_last[each] for each in get_close_matches(last, by_last, n=1)]


def _last(option: str) -> str:
    return option.lstrip("-").split(".")[-1]
