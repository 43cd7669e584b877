"""Outputs of audio: file, pipe, player, or several."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from qwentts_client.audio import AudioSink
from qwentts_client.cli.command import UsageError
from qwentts_client.cli.player import Player
from qwentts_client.v1 import tts_pb2

STDOUT = Path("-")


class OutputError(Exception):
    """A failed output, in one line."""


def checked_out(path: Path) -> Path:
    """`path`; raises `UsageError` where it is plainly not writable."""
    if path == STDOUT and sys.stdout.isatty():
        raise UsageError("--out: standard output is a terminal; let it be a pipe or a file")
    try:
        possible = path == STDOUT or (not path.is_dir() and path.parent.is_dir())
    except OSError as error:
        raise UsageError(f"--out: {path}: {error.strerror}") from error
    if not possible:
        raise UsageError(f"--out: {path} is not a file in a folder that exists")
    return path


class Output:
    """A file, standard output, a player, or several.

    Opened with the first audio.
    """

    def __init__(self, out: Path | None, kind: str, player: Player | None) -> None:
        self._out = out
        self._kind = kind
        self._player = player
        self._sinks: list[tuple[str, AudioSink]] = []

    @property
    def name(self) -> str:
        """Name for messages."""
        return _name(self._out) if self._out else "played"

    async def put(self, data: bytes, format: tts_pb2.AudioFormat) -> None:
        """Write audio; raises `OutputError`."""
        if not self._sinks:
            await self._open(format)
        for what, sink in self._sinks:
            with _named(what):
                await sink.put(data)

    async def close(self, nanoseconds: int) -> None:
        """Complete the file of this length; let the player finish.

        Raises `OutputError`.
        """
        for what, sink in self._sinks:
            with _named(what):
                sink.close(nanoseconds)
        if self._player is not None:
            with _named(f"--play: {self._player.name}"):
                code = await self._player.finish()
            if code:
                raise OutputError(f"--play: {self._player.name} ended with exit code {code}")

    async def _open(self, format: tts_pb2.AudioFormat) -> None:
        if self._out is not None:
            file: Path | BinaryIO = self._out if self._out != STDOUT else open(1, "wb", closefd=False)  # noqa: SIM115
            await self._add(f"--out: cannot write {_name(self._out)}", file, format, self._kind)
        if self._player is not None:
            await self._add(f"--play: {self._player.name}", self._player.input, format, "wav")

    async def _add(self, what: str, file: Path | BinaryIO, format: tts_pb2.AudioFormat, kind: str) -> None:
        with _named(what):
            self._sinks.append((what, await AudioSink.open(file, format, kind)))


@contextlib.contextmanager
def _named(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            _detach_stdout()
        raise OutputError(f"{what}: {error.strerror or error}") from error


def _detach_stdout() -> None:
    """Detach stdout from a closed pipe before exit flushes it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _name(out: Path) -> str:
    return "standard output" if out == STDOUT else str(out)
