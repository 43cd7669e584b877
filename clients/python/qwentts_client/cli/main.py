"""The command line: its commands, installed ones, error output."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import entry_points

from qwentts_client import __version__
from qwentts_client.cli.batch import BATCH
from qwentts_client.cli.command import GROUP, Command, Parser, UsageError
from qwentts_client.cli.completion import COMPLETION
from qwentts_client.cli.info import HEALTH, INFO
from qwentts_client.cli.serve import MISSING_SERVE
from qwentts_client.cli.speak import SPEAK
from qwentts_client.cli.voices import VOICES

BAD_USE, INTERRUPTED = 2, 130
COMMANDS = {
    "serve": MISSING_SERVE,
    "speak": SPEAK,
    "batch": BATCH,
    "voices": VOICES,
    "info": INFO,
    "health": HEALTH,
    "completion": COMPLETION,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; exit with its code.

    0, 1 where a call failed, 2 for bad use, 70 for a lost engine.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    commands = {**COMMANDS, **dict(_installed())}
    try:
        options = _parser(commands).parse_args(arguments)
        code = options.run(options)
    except UsageError as error:
        if arguments and arguments[0] in commands:
            commands[arguments[0]].prepare_error(arguments)
        print(f"qwentts-grpc: error: {error}", file=sys.stderr)
        code = BAD_USE
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)


def _parser(commands: Mapping[str, Command]) -> Parser:
    top = Parser(prog="qwentts-grpc", description="Text in, speech out over gRPC.")
    top.add_argument("--version", action="version", version=__version__)
    adders = top.add_subparsers(required=True, metavar=f"{{{','.join(commands)}}}")
    top.set_defaults(parser=top)
    for name, command in commands.items():
        command.add(adders.add_parser(name, help=command.help))
    return top


def _installed() -> Iterator[tuple[str, Command]]:
    """The commands of other distributions."""
    for point in entry_points(group=GROUP):
        yield point.name, point.load()
