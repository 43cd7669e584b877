"""The commands that talk to a server: speak, and voices with its create and delete."""

import argparse
import asyncio
import sys
import threading
import time
import wave
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
from google.protobuf.duration_pb2 import Duration

from qwentts_grpc.client import SAMPLE_RATE, AsyncClient, Turn, open_wav
from qwentts_grpc.tls import client_credentials
from qwentts_grpc.v1 import tts_pb2

FAILED = 1
WORTH_TELLING = (tts_pb2.NOTICE_CODE_VALUE_ADJUSTED, tts_pb2.NOTICE_CODE_DRAINING)
LINES_AHEAD = 16  # of standard input, read before the server has taken them


# A file has no listener whom synthesis must not run ahead of.
AT_FULL_SPEED = tts_pb2.DeliveryOptions(max_lead=Duration(seconds=86_400))


class UsageError(Exception):
    """A flag, path or checkpoint that cannot work, in one line."""


async def speak(options: argparse.Namespace) -> int:
    """Speak `options.text` into `options.out`; progress goes to stderr."""
    _check(options)
    reference = _read("--reference", options.reference) if options.reference else b""
    text = stdin_lines() if options.text == "-" else _utf8(options.text)
    try:
        async with _client(options) as client:
            turn = client.synthesize(
                text,
                voice=options.voice or await _default_voice(client, options),
                reference=reference,
                transcript=options.transcript,
                language=options.language,
                instructions=options.instructions,
                seed=options.seed,
                config=tts_pb2.SynthesisConfig(model=options.model, delivery=AT_FULL_SPEED),
            )
            await _write(turn, options.out)
    except grpc.aio.AioRpcError as error:
        return _failed(error, options.server)
    return 0


async def voices(options: argparse.Namespace) -> int:
    """Print a line for each voice."""
    try:
        async with _client(options) as client:
            found = await client.voices(options.language)
    except grpc.aio.AioRpcError as error:
        return _failed(error, options.server)
    width = max((len(voice.name) for voice in found), default=0)
    for voice in found:
        print(f"{voice.name:<{width}}  {', '.join(voice.languages)}")
    if not found:
        print("no such voice on this server", file=sys.stderr)
    return 0


async def create_voice(options: argparse.Namespace) -> int:
    """Make a voice of a recording."""
    audio = _read("--audio", options.audio)
    try:
        async with _client(options) as client:
            await client.create_voice(
                options.name, audio, transcript=options.transcript, description=options.description
            )
    except grpc.aio.AioRpcError as error:
        return _failed(error, options.server)
    return 0


async def delete_voice(options: argparse.Namespace) -> int:
    """Forget a created voice."""
    try:
        async with _client(options) as client:
            await client.delete_voice(options.name)
    except grpc.aio.AioRpcError as error:
        return _failed(error, options.server)
    return 0


def _client(options: argparse.Namespace) -> AsyncClient:
    if (options.tls_cert is None) != (options.tls_key is None):
        raise UsageError("--tls-cert and --tls-key go together")
    if not options.token.isascii() or not options.token.isprintable():
        raise UsageError("--token: not printable ASCII")
    if not (options.tls or options.tls_ca or options.tls_cert):
        return AsyncClient(options.server, token=options.token)
    try:
        credentials = client_credentials(options.tls_ca, options.tls_cert, options.tls_key)
    except OSError as error:
        raise UsageError(str(error)) from error
    return AsyncClient(options.server, token=options.token, credentials=credentials)


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
    path: Path = options.out
    if path.is_dir() or not path.parent.is_dir():
        raise UsageError(f"--out: {path} is not a file in a folder that exists")
    if options.reference and options.voice:
        raise UsageError("--voice and --reference exclude each other")
    if options.transcript and not options.reference:
        raise UsageError("--transcript is of a --reference")


def _read(flag: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{flag}: cannot read {path}: {error.strerror}") from error


def _utf8(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError("the text is not UTF-8") from None
    return text


def _failed(error: grpc.aio.AioRpcError, server: str) -> int:
    """One line: what the server said, or that there is none."""
    answered = any(key == "grpc-status-details-bin" for key, _ in error.trailing_metadata() or ())
    if error.code() is grpc.StatusCode.UNAVAILABLE and not answered:
        print(f"qwentts-grpc: no server answers at {server} (qwentts-grpc serve starts one)", file=sys.stderr)
    else:
        print(f"qwentts-grpc: {error.code().name}: {error.details()}", file=sys.stderr)
    return FAILED
