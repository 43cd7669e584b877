"""The speak command."""

import argparse
import asyncio
import sys
import threading
import time
import wave
from collections.abc import AsyncIterator
from pathlib import Path

from google.protobuf.duration_pb2 import Duration

from qwentts_client.cli.command import Command, UsageError, whole
from qwentts_client.cli.connection import add_connection_flags, calling, read_file
from qwentts_client.client import SAMPLE_RATE, AsyncClient, Turn, open_wav
from qwentts_client.v1 import tts_pb2

WORTH_TELLING = (tts_pb2.NOTICE_CODE_VALUE_ADJUSTED, tts_pb2.NOTICE_CODE_DRAINING)
LINES_AHEAD = 16  # of standard input, read before the server has taken them


# A file has no listener whom synthesis must not run ahead of.
AT_FULL_SPEED = tts_pb2.DeliveryOptions(max_lead=Duration(seconds=86_400))


def _add_speak(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("text", metavar="TEXT|-", help="what to say; - reads standard input and speaks it line by line as it comes")
    add("--model", default="", help="a checkpoint of the server (default: one that can)")
    add("--voice", default="", help="a name that the voices command lists (default: the first)")
    add("--language", default="", help="default: as the text suggests")
    add("--instructions", default="", help="how to speak, or which voice to design")
    add("--reference", type=Path, metavar="WAV", help="a recording whose voice to clone (WAV, FLAC or OGG)")
    add("--transcript", default="", help="the recording's words; without them only its speaker is taken")
    add("--consent", default="", help="where the speaker's consent to the recording's use is on record")
    add("--seed", type=whole(0, 2**64 - 1), help="the same seed gives the same audio")
    add("--out", type=Path, default=Path("out.wav"), help="default %(default)s")
    add_connection_flags(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    _check(options)
    return calling(_speak)(options)


async def _speak(client: AsyncClient, options: argparse.Namespace) -> None:
    turn = client.synthesize(
        stdin_lines() if options.text == "-" else options.text,
        voice=options.voice or await _default_voice(client, options),
        reference=read_file("--reference", options.reference) if options.reference else b"",
        transcript=options.transcript,
        consent_reference=options.consent,
        language=options.language,
        instructions=options.instructions,
        seed=options.seed,
        config=tts_pb2.SynthesisConfig(model=options.model, delivery=AT_FULL_SPEED),
    )
    await _write(turn, options.out)


async def stdin_lines() -> AsyncIterator[str]:
    """Lines of standard input as they come; a daemon thread waits for them, so that leaving never does."""
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str] = asyncio.Queue(LINES_AHEAD)

    def pump() -> None:
        for line in iter(lambda: sys.stdin.buffer.readline().decode("utf-8", "replace"), ""):
            asyncio.run_coroutine_threadsafe(lines.put(line), loop).result()
        asyncio.run_coroutine_threadsafe(lines.put(""), loop).result()

    threading.Thread(target=pump, name="stdin", daemon=True).start()
    while line := await lines.get():
        yield line


async def _default_voice(client: AsyncClient, options: argparse.Namespace) -> str:
    """The first voice there is, where neither a recording nor a description takes its place."""
    if options.reference:
        return ""
    found = [voice for voice in await client.voices() if options.model in ("", voice.model)]
    return found[0].name if found else ""


async def _write(turn: Turn, path: Path) -> None:
    progress = Progress(path)
    file: wave.Wave_write | None = None
    try:
        async for frame in turn:
            file = file or open_wav(path)
            file.writeframes(frame.data)
            progress.show(file.getnframes() / SAMPLE_RATE)
    finally:
        progress.end()
        if file is not None:
            file.close()
    progress.report(turn)


class Progress:
    """How far a turn has come, on stderr: a line that is rewritten on a terminal, one line at the end elsewhere."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._live = sys.stderr.isatty()
        self._began = time.monotonic()
        self._first: float | None = None
        self._seconds = 0.0

    def show(self, seconds: float) -> None:
        """The audio is `seconds` long by now."""
        if self._first is None and seconds:
            self._first = time.monotonic() - self._began
        self._seconds = seconds
        if self._live:
            print(f"\r{self._line()}", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave the line."""
        if self._live and self._first is not None:
            print(file=sys.stderr)

    def report(self, turn: Turn) -> None:
        """Say what came of it."""
        for notice in turn.notices:
            if notice.code in WORTH_TELLING:
                print(notice.message, file=sys.stderr)
        print(f"{self._path}: {self._line()}, seed {turn.summary.seed}", file=sys.stderr)

    def _line(self) -> str:
        taken = time.monotonic() - self._began
        factor = f", {taken / self._seconds:.2f} s of work a second" if self._seconds else ""
        return f"{self._seconds:.2f} s of audio, first after {self._first or 0:.3f} s{factor}"


def _check(options: argparse.Namespace) -> None:
    _check_utf8(options.text)
    path: Path = options.out
    if path.is_dir() or not path.parent.is_dir():
        raise UsageError(f"--out: {path} is not a file in a folder that exists")
    if options.reference and options.voice:
        raise UsageError("--voice and --reference exclude each other")
    for flag in ("transcript", "consent"):
        if getattr(options, flag) and not options.reference:
            raise UsageError(f"--{flag} is of a --reference")


def _check_utf8(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError("the text is not UTF-8") from None


SPEAK = Command("speak a text into a WAV file", _add_speak)
