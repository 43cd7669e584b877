"""A command of the command line, with common helpers."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

GROUP = "qwentts_client.commands"  # entry points: the name of a command, to a `Command`


class UsageError(Exception):
    """An unusable flag, path or checkpoint, in one line."""


@dataclass(frozen=True)
class Command:
    """One line of help, with a function that adds flags.

    The function also sets the default `run` of the command's parser. `run` takes the parsed options, and returns the
    exit code. `prepare_error` gets all arguments before a `UsageError` is printed.
    """

    help: str
    add: Callable[[argparse.ArgumentParser], None]
    prepare_error: Callable[[Sequence[str]], None] = lambda arguments: None


class Parser(argparse.ArgumentParser):
    """A parser with one-line errors.

    argparse would print its usage first.
    """

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError`."""
        raise UsageError(f"{message} (see {self.prog} --help)")


def whole(least: int, most: int) -> Callable[[str], int]:
    """A flag's type: a whole number from `least` to `most`."""

    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
        return int(text)

    return parse


def seconds(least: int, most: int = 86_400) -> Callable[[str], float]:
    """A flag's type: seconds from `least` to `most`, a day."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a time from {least} to {most} s")
        return value

    return parse
