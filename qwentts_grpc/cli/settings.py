"""Flags from the environment or a TOML file.

A flag precedes a variable, which precedes the file.
"""

import argparse
import contextlib
import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from qwentts_client.cli.command import Parser, UsageError

PREFIX = "QWENTTS_"
SWITCH = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


class ReplaceDefault(argparse.Action):
    """A repeatable flag; given ones replace the default's."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        so_far = getattr(namespace, self.dest)
        setattr(namespace, self.dest, [values] if so_far is self.default else [*so_far, values])


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Let variables or a `--config` file set flags' defaults.

    For all the flags that `parser` has so far.
    """
    flags = {action.option_strings[0][2:]: action for action in parser._actions if action.dest != "help"}
    parse = parser.parse_known_args

    def parse_known_args(args: Any = None, namespace: Any = None) -> Any:
        given = _excluded(parser, args)
        defaults = _defaults(flags, _flag(args, "config"))
        parser.set_defaults(**{name: value for name, value in defaults.items() if name not in given})
        return parse(args, namespace)

    parser.add_argument("--config", metavar="TOML", help=f"file of flags, such as port = 50051 ({PREFIX}CONFIG)")
    parser.parse_known_args = parse_known_args  # type: ignore[method-assign]


def _excluded(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> set[str]:
    """Flags excluded by the given ones.

    Variables and the file must not set them.
    """
    given = {argument.partition("=")[0] for argument in arguments}
    groups = [group._group_actions for group in parser._mutually_exclusive_groups]
    taken = [group for group in groups if any(given.intersection(action.option_strings) for action in group)]
    return {action.dest for group in taken for action in group}


def early(arguments: Sequence[str], name: str) -> str:
    """Text of flag `name` before full parsing; empty for none.

    From the arguments, its variable or its key.
    """
    if text := _flag(arguments, name):
        return text
    with contextlib.suppress(UsageError):
        return str(_read(_flag(arguments, "config")).get(name, ""))
    return ""


def _flag(arguments: Sequence[str], name: str) -> str:
    parser = Parser(add_help=False, allow_abbrev=False)
    parser.add_argument(f"--{name}", nargs="?", dest="text")
    return parser.parse_known_args(arguments)[0].text or os.environ.get(_variable(name)) or ""


def _variable(name: str) -> str:
    return PREFIX + name.replace("-", "_").upper()


def _defaults(flags: Mapping[str, argparse.Action], path: str) -> dict[str, Any]:
    return dict([*_from_file(flags, path), *_from_environment(flags)])


def _from_file(flags: Mapping[str, argparse.Action], path: str) -> Iterator[tuple[str, Any]]:
    for name, value in _read(path).items():
        if name not in flags:
            near = difflib.get_close_matches(name, flags, 1)
            raise UsageError(f"{path}: no flag is called {name}{f'; is it {near[0]}?' if near else ''}")
        yield flags[name].dest, _value(flags[name], value, f"{path}: {name}")


def _read(path: str) -> dict[str, Any]:
    """A file's values by flag name; raises `UsageError`."""
    if not path:
        return {}
    try:
        found = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--config: cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"--config: {path} is not TOML: {error}") from error
    return {key.replace("_", "-"): value for key, value in found.items()}


def _from_environment(flags: Mapping[str, argparse.Action]) -> Iterator[tuple[str, Any]]:
    for name, action in flags.items():
        if text := os.environ.get(_variable(name)):  # an empty one counts as unset
            switch = _is_switch(action)
            several = text.split(",") if isinstance(action, ReplaceDefault) else text
            yield action.dest, _value(action, SWITCH.get(text.lower(), text) if switch else several, _variable(name))


def _value(action: argparse.Action, value: Any, source: str) -> Any:
    """The flag's own conversion of `value`.

    Raises `UsageError` naming its `source`.
    """
    if _is_switch(action):
        if not isinstance(value, bool):
            raise UsageError(f"{source}: {value!r} is neither true nor false")
        return value
    if isinstance(action, ReplaceDefault):
        return [_single(action, each, source) for each in (value if isinstance(value, list) else [value])]
    return _single(action, value, source)


def _is_switch(action: argparse.Action) -> bool:
    return isinstance(action, argparse.BooleanOptionalAction) or action.const is True


def _single(action: argparse.Action, value: Any, source: str) -> Any:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise UsageError(f"{source}: {value!r} is not a string or a number")
    try:
        made = action.type(str(value)) if callable(action.type) else str(value)
    except argparse.ArgumentTypeError as error:
        raise UsageError(f"{source}: {error}") from error
    if action.choices and made not in action.choices:
        raise UsageError(f"{source}: {made!r} is not one of {', '.join(action.choices)}")
    return made
