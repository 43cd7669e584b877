"""What a caller sends in one turn: the config first, then text, flushes and a cancel, into a speech."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Protocol

from engine.api.errors import InputIdle, InvalidRequest, TextTooLong
from engine.prompt.token_stream import speakable
from engine.speech import Speech
from qwentts_client.v1 import tts_pb2
from qwentts_grpc.rpc.incoming import GRACE, Incoming, cancel_may_come
from qwentts_grpc.wire.limits import Limits
from qwentts_grpc.wire.requests import name

PAUSE = 0.002  # seconds between messages after which they are not of one go
LONGEST_HOLD = 0.01  # seconds

Requests = AsyncIterator[tts_pb2.SynthesizeRequest]


async def first_config(requests: Requests, patience: float) -> tts_pb2.SynthesisConfig:
    """The config that a turn begins with; raises `InputIdle` where none comes within `patience` seconds."""
    try:
        async with asyncio.timeout(patience):
            first = await anext(requests, None)
    except TimeoutError:
        raise InputIdle(f"no config came within {patience:g} s") from None
    if first is None:
        await cancel_may_come()
    if first is None or first.WhichOneof("payload") != "config":
        raise InvalidRequest("config", "must be the first message of the turn", "CONFIG_NOT_FIRST")
    return first.config


class Text(Protocol):
    """Where the text of a turn comes from."""

    async def open(self, patient: bool) -> None:
        """Where `patient`, wait for what comes together, so that a text that is complete is known to be."""

    def begin(self, speech: Speech) -> None:
        """Feed what has come by now, at once. Raises `InvalidRequest`, `TextTooLong`."""

    async def feed(self, speech: Speech) -> None:
        """Feed the rest as it comes, to its end. Raises `InvalidRequest`, `TextTooLong`."""


class WholeText:
    """A text that is complete, and `came` by then."""

    def __init__(self, text: str, came: float) -> None:
        """Raises `InvalidRequest` where there is nothing in it to speak."""
        if not speakable(text):
            raise InvalidRequest("text", "has nothing to speak", "TEXT_EMPTY")
        self._text, self._came = text, came

    async def open(self, patient: bool) -> None:
        """Nothing to wait for."""

    def begin(self, speech: Speech) -> None:
        """All of it."""
        speech.feed(self._text, self._came)
        speech.end(self._came)

    async def feed(self, speech: Speech) -> None:
        """Nothing is left."""


class RequestReader:
    """Feeds a speech from the messages that follow the config, until half-close or a cancel.

    `since`: when the config came; messages that need not be waited for have lain there while the turn was prepared,
    so they count as having come then.
    """

    def __init__(self, requests: Incoming[tts_pb2.SynthesizeRequest], limits: Limits, since: float) -> None:
        self._requests = requests
        self._limits = limits
        self._came: float | None = since  # of the message at hand; None: just now
        self._held: list[tuple[tts_pb2.SynthesizeRequest, float | None]] = []  # and when they came
        self._patient = False
        self._begun = False  # whether the segment has something to speak
        self._ended = self._cancelled = False
        self._appends = self._flushes = 0

    async def open(self, patient: bool) -> None:
        """Hold what comes along with the config."""
        self._patient = patient
        await self._hold()

    def begin(self, speech: Speech) -> None:
        """Feed what is held."""
        held, self._held = self._held, []
        for request, came in held:
            self._cancelled = self._cancelled or self._take(request, came, speech)
        if self._ended and speech.speakable and not self._cancelled:
            speech.end(self._came)

    async def feed(self, speech: Speech) -> None:
        """Feed the rest; return where nothing more can matter."""
        while not (self._ended or self._cancelled):
            begun = self._begun
            await self._read()
            if self._begun and not begun:
                await self._hold()
            self.begin(speech)
        if not (speech.speakable or self._cancelled):
            await cancel_may_come()
            speech.end(self._came)

    async def _hold(self) -> None:
        """Hold what comes in one go, up to the end of the segment."""
        until = time.monotonic() + LONGEST_HOLD
        while self._patient and time.monotonic() < until and await self._requests.comes_within(PAUSE):
            await self._read()
            if self._ended or self._held[-1][0].WhichOneof("payload") != "text":
                return

    async def _read(self) -> None:
        """Hold the next message."""
        asked = time.monotonic()
        request = await anext(self._requests, None)
        if time.monotonic() - asked > GRACE:
            self._came = None
        if request is None:
            self._ended = True
            return
        self._held.append((request, self._came))
        self._begun = not request.HasField("flush") and (self._begun or speakable(request.text.text))

    def _take(self, request: tts_pb2.SynthesizeRequest, came: float | None, speech: Speech) -> bool:
        """One message into the speech; True where nothing counts any more: after a cancel, or when it has ended."""
        if speech.over:
            return True
        match request.WhichOneof("payload"):
            case "text":
                self._appends = _counted(self._appends, self._limits.appends, "messages of text")
                speech.feed(self._text(request.text.text), came)
            case "flush":
                self._flushes = _counted(self._flushes, self._limits.flushes, "flushes")
                speech.flush(name("flush.mark", request.flush.mark), came)
            case "cancel":
                speech.cancel()
                return True
            case "config":
                raise InvalidRequest("config", "was given before; a turn has one", "CONFIG_REPEATED")
            case _:
                raise InvalidRequest("payload", "the message holds nothing that this server knows")
        return False

    def _text(self, text: str) -> str:
        if len(text.encode()) > self._limits.chunk_bytes:
            raise TextTooLong(f"one text message holds more than {self._limits.chunk_bytes} bytes")
        return text


def _counted(before: int, most: int, what: str) -> int:
    """One more than `before`; raises `TextTooLong` past the limit."""
    if before >= most:
        raise TextTooLong(f"more than {most} {what} in one turn")
    return before + 1
