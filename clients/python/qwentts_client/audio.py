"""Audio files from a turn's frames.

Lengths in headers are set at close.
"""

from __future__ import annotations

import os
import struct
import wave
from collections.abc import AsyncIterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Union

from qwentts_client.options import encoding_name
from qwentts_client.threads import in_thread
from qwentts_client.turn import Turn
from qwentts_client.v1 import tts_pb2

SAMPLE_RATE = 24_000
PCM = "pcm_s16le"
UNKNOWN = 0xFFFFFFFF  # a length in a WAV header before it is known

KINDS = {
    "wav": PCM,
    "wave": PCM,
    "pcm": PCM,
    "raw": PCM,
    "f32": "pcm_f32le",
    "ulaw": "mulaw",
    "mulaw": "mulaw",
    "ul": "mulaw",
    "alaw": "alaw",
    "al": "alaw",
    "flac": "flac",
    "ogg": "ogg_opus",
    "oga": "ogg_opus",
    "opus": "ogg_opus",
}  # of files, by the ending of their names, with the encoding requested for each
WAV_KINDS = ("wav", "wave")
WAV_CODES = {PCM: (1, 2), "pcm_f32le": (3, 4), "mulaw": (7, 1), "alaw": (6, 1)}  # format tag, bytes of a sample

File = Union[str, "os.PathLike[str]", BinaryIO]


def kind_of(file: File) -> str:
    """The kind of file for a name, by its ending.

    "wav" for a file object, and for a name without an ending. Raises ValueError for an ending that is not in `KINDS`.
    """
    name = Path(file).name.lower() if isinstance(file, (str, os.PathLike)) else ""
    return checked_kind((name.rpartition(".")[2] if "." in name else "") or "wav")


def checked_kind(kind: str) -> str:
    """`kind`; raises ValueError where it is not in `KINDS`."""
    if kind not in KINDS:
        raise ValueError(f"cannot write {kind} files, only {', '.join(KINDS)}")
    return kind


async def write_audio(file: File, turn: Turn, kind: str = "") -> float:
    """Write a turn's audio into a file; return its seconds.

    kind: one of `KINDS` (default: what the file's name ends in). WAV files hold PCM, A-law or mu-law. Lengths in
    headers are right where the file is seekable. The file is made with the first frame.
    Raises ValueError for another encoding of the turn, before anything is written, and OSError.
    """
    kind = kind or kind_of(file)
    check_encoding(kind, encoding_name((await turn.wait_started()).audio_format))
    nanoseconds = 0
    sink: AudioSink | None = None
    try:
        async for frame in turn:
            sink = sink or await AudioSink.open(file, turn.started.audio_format, kind)
            await sink.put(frame.data)
            nanoseconds += frame.duration.ToNanoseconds()
    finally:
        if sink is not None:
            sink.close(nanoseconds)
    return nanoseconds / 1e9


async def write_wav(path: str | os.PathLike[str], frames: AsyncIterable[tts_pb2.AudioFrame]) -> float:
    """Write a turn's audio as WAV; return its seconds.

    Frames that come without their turn must be 16-bit PCM at 24 kHz. Raises ValueError for audio that is not.
    """
    if isinstance(frames, Turn):
        return await write_audio(path, frames, "wav")
    with open_wav(path) as file:
        async for frame in frames:
            if len(frame.data) != 2 * round(frame.duration.ToNanoseconds() * SAMPLE_RATE / 1e9):
                raise ValueError("these frames are not 16-bit PCM at 24 kHz; give the turn itself")
            file.writeframes(frame.data)
        return file.getnframes() / SAMPLE_RATE


def open_wav(path: str | os.PathLike[str]) -> wave.Wave_write:
    """A WAV file for 16-bit mono audio at 24 kHz.

    Raises OSError.
    """
    file = wave.open(os.fspath(path), "wb")  # noqa: SIM115  # the caller closes it
    file.setnchannels(1)
    file.setsampwidth(2)
    file.setframerate(SAMPLE_RATE)
    return file


class AudioSink:
    """An audio file being written.

    A path, or a binary file, which stays open.
    """

    def __init__(self, file: File, format: tts_pb2.AudioFormat, kind: str = "") -> None:
        """Raises ValueError where `kind`, `format` differ, or OSError.

        `kind` defaults to what the file's name ends in.
        """
        kind = checked_kind(kind) if kind else kind_of(file)
        self._format = format
        self._encoding = encoding_name(format)
        check_encoding(kind, self._encoding)
        self._wav = kind in WAV_KINDS and self._encoding in WAV_CODES
        self._own = isinstance(file, (str, os.PathLike))
        self._file: BinaryIO = open(file, "wb") if isinstance(file, (str, os.PathLike)) else file  # noqa: SIM115
        self._start = _start(self._file)
        self._written = 0
        self._put(wav_header(format, None) if self._wav else b"")

    @classmethod
    async def open(cls, file: File, format: tts_pb2.AudioFormat, kind: str = "") -> AudioSink:
        """Open a sink; a FIFO does not block the loop."""
        return await in_thread(cls, file, format, kind)

    async def put(self, data: bytes) -> None:
        """Add encoded audio, without blocking the event loop."""
        if self._start is None:  # not on a disk: a write may take any time
            await in_thread(self.write, data)
        else:
            self.write(data)

    def write(self, data: bytes) -> None:
        """Add encoded audio."""
        self._put(data)
        self._written += len(data)

    def close(self, nanoseconds: int) -> None:
        """Set the header's length if the file is seekable."""
        try:
            if self._start is not None and self._written:
                self._complete(nanoseconds)
        finally:
            if self._own:
                self._file.close()

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._file.flush()

    def _complete(self, nanoseconds: int) -> None:
        samples = round(nanoseconds * (self._format.sample_rate_hertz or SAMPLE_RATE) / 1e9)
        if self._wav:
            self._put(bytes(self._written % 2))  # chunks are even
            self._patch(0, wav_header(self._format, self._written))
        elif self._encoding == "flac":
            self._patch(22, struct.pack(">I", samples & UNKNOWN))  # in STREAMINFO, the low 32 bits of 36
        elif self._encoding == "wav":
            self._patch(4, struct.pack("<I", min(self._written - 8, UNKNOWN)))
            self._patch(40, struct.pack("<I", min(self._written - 44, UNKNOWN)))

    def _patch(self, offset: int, data: bytes) -> None:
        self._file.seek((self._start or 0) + offset)
        self._put(data)
        self._file.seek(0, os.SEEK_END)


def wav_header(format: tts_pb2.AudioFormat, size: int | None) -> bytes:
    """WAV header for `size` bytes of audio; None if unknown."""
    tag, width = WAV_CODES[encoding_name(format)]
    rate = format.sample_rate_hertz or SAMPLE_RATE
    chunk = struct.pack("<HHIIHH", tag, 1, rate, rate * width, width, 8 * width)
    if tag != 1:  # what is not PCM has an empty extension, and the number of samples
        chunk += struct.pack("<H", 0)
    chunk = b"fmt " + struct.pack("<I", len(chunk)) + chunk
    known = size is not None and size < UNKNOWN - 100
    length = size if size is not None and known else UNKNOWN
    if tag != 1:
        chunk += b"fact" + struct.pack("<II", 4, length // width if known else UNKNOWN)
    whole = 4 + len(chunk) + 8 + length + length % 2 if known else UNKNOWN
    return b"RIFF" + struct.pack("<I", whole) + b"WAVE" + chunk + b"data" + struct.pack("<I", length)


def check_encoding(kind: str, encoding: str) -> None:
    """Raise ValueError unless files of `kind` can hold `encoding`."""
    in_wav = kind in WAV_KINDS and (encoding == "wav" or encoding in WAV_CODES)
    if not in_wav and encoding != KINDS[checked_kind(kind)]:
        raise ValueError(f"the turn's audio is {encoding}, and {kind} files hold {KINDS[kind]}: ask the turn for that")


def _start(file: BinaryIO) -> int | None:
    """Offset of the header; None if not seekable."""
    with suppress(OSError, ValueError, AttributeError):
        import fcntl

        if fcntl.fcntl(file.fileno(), fcntl.F_GETFL) & os.O_APPEND:
            return None
    with suppress(OSError, ValueError, AttributeError):
        if file.seekable():
            return file.tell()
    return None
