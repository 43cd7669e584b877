"""The completion command: shell scripts from all commands' flags."""

import argparse
from collections.abc import Iterator

from qwentts_client.cli.command import Command

BASH = """\
_qwentts_grpc() {
    local path="" word words=""
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case "$path/$word" in
            %s) path="$path/$word" ;;
        esac
    done
    case "$path ${COMP_WORDS[COMP_CWORD-1]}" in
%s
        *) case "$path" in
%s
        esac ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _qwentts_grpc qwentts-grpc"""

HINTS = {
    "bash": "# in ~/.bashrc: source <(qwentts-grpc completion bash)",
    "zsh": "# in ~/.zshrc: source <(qwentts-grpc completion zsh)",
    "fish": "# qwentts-grpc completion fish > ~/.config/fish/completions/qwentts-grpc.fish",
}

_Commands = dict[str, argparse.ArgumentParser]


def _add_completion(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=tuple(HINTS))
    parser.set_defaults(run=_print)


def _print(options: argparse.Namespace) -> int:
    commands = dict(_commands("", options.parser))
    print(HINTS[options.shell])
    if options.shell == "fish":
        print("\n".join(_fish(commands)))
    else:
        if options.shell == "zsh":
            print("autoload -U +X compinit bashcompinit && compinit && bashcompinit")
        print(_bash(commands))
    return 0


def _commands(path: str, parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command by its path, such as "/voices/create"."""
    yield path, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, within in action.choices.items():
                yield from _commands(f"{path}/{name}", within)


def _bash(commands: _Commands) -> str:
    paths = " | ".join(path for path in commands if path)
    values = [
        f'        "{path} {flag}") words="{" ".join(map(str, action.choices))}" ;;'
        for path, parser in commands.items()
        for action in parser._actions
        for flag in action.option_strings
        if action.choices
    ]
    words = [
        f'            "{path}") words="{" ".join(_names(path, parser, commands))}" ;;'
        for path, parser in commands.items()
    ]
    return BASH % (paths, "\n".join(values), "\n".join(words))


def _names(path: str, parser: argparse.ArgumentParser, commands: _Commands) -> Iterator[str]:
    for other in commands:
        if other and other.rpartition("/")[0] == path:
            yield other.rpartition("/")[2]
    for action in parser._actions:
        yield from (flag for flag in action.option_strings if flag.startswith("--"))
        if not action.option_strings and action.choices and not isinstance(action, argparse._SubParsersAction):
            yield from map(str, action.choices)


def _fish(commands: _Commands) -> Iterator[str]:
    for path, parser in commands.items():
        when = " && ".join(f"__fish_seen_subcommand_from {name}" for name in path.split("/")[1:])
        start = f"complete -c qwentts-grpc -n '{when or '__fish_use_subcommand'}'"
        for name in _names(path, parser, commands):
            if not name.startswith("--"):
                yield f"{start} -a {name}"
        for action in parser._actions:
            for flag in action.option_strings:
                if flag.startswith("--"):
                    yield f"{start} -l {flag[2:]}{_fish_values(action)}"


def _fish_values(action: argparse.Action) -> str:
    if action.choices:
        return f" -xa '{' '.join(map(str, action.choices))}'"
    return "" if action.nargs == 0 else " -r"


COMPLETION = Command("print a completion script for bash, zsh or fish", _add_completion)
