"""The speak command."""

import argparse
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict

from qwentts_client.audio import KINDS, WAV_CODES
from qwentts_client.cli.command import Command, UsageError
from qwentts_client.cli.connection import FAILED, add_connection_flags, calling
from qwentts_client.cli.lines import Lines
from qwentts_client.cli.output import STDOUT, Output, OutputError, checked_out
from qwentts_client.cli.player import Player
from qwentts_client.cli.progress import Line
from qwentts_client.cli.speech import add_format_flags, add_speech_flags, kind, speech_options
from qwentts_client.client import AsyncClient
from qwentts_client.text import Text
from qwentts_client.turn import Turn
from qwentts_client.v1 import tts_pb2

PRINTED_NOTICES = (
    tts_pb2.NOTICE_CODE_VALUE_ADJUSTED,
    tts_pb2.NOTICE_CODE_DRAINING,
    tts_pb2.NOTICE_CODE_REFERENCE_QUALITY,
)
OUT = Path("out.wav")


def _add_speak(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("text", metavar="TEXT|-", help="the text; - speaks standard input line by line, each as soon as it comes")
    add("--out", type=Path, metavar="FILE", help=f"{OUT} unless played; - is standard output")
    add("--play", action="store_true", help="play it (by ffplay, mpv, play or aplay)")
    add("--quiet", action="store_true", help="print nothing but errors on standard error")
    add("--json", action="store_true", help="print the summary as JSON")
    add_format_flags(parser, "what FILE ends in, or else wav")
    add_speech_flags(parser)
    add_connection_flags(parser)
    parser.set_defaults(run=calling(_speak))


async def _speak(client: AsyncClient, options: argparse.Namespace) -> int:
    _check_utf8(options.text)
    out = checked_out(options.out) if options.out else None if options.play else OUT
    written = kind(options, out)
    speech = await speech_options(client, options, written)
    player = Player() if options.play else None
    report = Report(Output(out, written, player), options)
    try:
        async for text in _texts(options.text, written):
            async with client.synthesize(text, paced=options.play, **speech) as turn:
                await report.take(turn)
        await report.close()
    except OutputError as error:
        print(f"qwentts-grpc: {error}", file=sys.stderr)
        return FAILED
    finally:
        report.line.end()
        if player is not None:
            player.kill()
    report.print(out == STDOUT)
    return 0


async def _texts(text: str, kind: str) -> AsyncIterator[Text]:
    """The text of each turn.

    One, or as many as standard input needs where their audio may be joined.
    """
    if text != "-":
        yield text
        return
    lines = Lines()
    joined = KINDS[kind] in WAV_CODES
    while lines.more:
        yield lines.turn(joined)


class Report:
    """Audio of one turn or several, with printed messages."""

    def __init__(self, output: Output, options: argparse.Namespace) -> None:
        self.line = Line(options.quiet)
        self._options = options
        self._output = output
        self._turn: Turn | None = None
        self._began = time.monotonic()
        self._first: float | None = None
        self._nanoseconds = 0

    async def take(self, turn: Turn) -> None:
        """Write a turn's audio; raises `OutputError`, `TTSError`."""
        self._turn = turn
        try:
            async for frame in turn:
                if self._first is None and frame.data:
                    self._first = time.monotonic() - self._began
                await self._output.put(frame.data, turn.started.audio_format)
                self._nanoseconds += frame.duration.ToNanoseconds()
                self.line.show(self._figures())
        except BaseException:
            with contextlib.suppress(OutputError):  # keeps what has come
                await self._output.close(self._nanoseconds)
            raise
        self.line.end()
        for notice in turn.notices:
            if notice.code in PRINTED_NOTICES and not self._options.quiet:
                print(notice.message, file=sys.stderr)

    async def close(self) -> None:
        """Complete the output; raises `OutputError`."""
        await self._output.close(self._nanoseconds)

    def print(self, to_stderr: bool) -> None:
        """Print the result."""
        assert self._turn is not None
        if self._options.json:
            print(json.dumps(self._facts(), ensure_ascii=False), file=sys.stderr if to_stderr else sys.stdout)
        elif not self._options.quiet:
            print(f"{self._output.name}: {self._figures()}, seed {self._turn.summary.seed}", file=sys.stderr)

    def _figures(self) -> str:
        taken, seconds = time.monotonic() - self._began, self._nanoseconds / 1e9
        factor = f", {taken / seconds:.2f} s of work a second" if seconds and not self._options.play else ""
        return f"{seconds:.2f} s of audio, first after {self._first or 0:.3f} s{factor}"

    def _facts(self) -> dict[str, Any]:
        assert self._turn is not None
        return {
            "out": self._output.name,
            "seconds": self._nanoseconds / 1e9,
            "first_audio_seconds": self._first,
            "total_seconds": time.monotonic() - self._began,
            "started": _dict(self._turn.started),
            "summary": _dict(self._turn.summary),
            "notices": [_dict(notice) for notice in self._turn.notices],
        }


def _dict(message: Any) -> dict[str, Any]:
    return MessageToDict(message, preserving_proto_field_name=True)


def _check_utf8(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError("the text is not UTF-8") from None


SPEAK = Command("speak a text into a file, a pipe or the loudspeaker", _add_speak)
