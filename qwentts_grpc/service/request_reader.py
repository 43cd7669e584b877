"""Requests of one turn into a speech.

The config comes first, then text, flushes, and perhaps a cancel.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Protocol

from engine.api.client import SpeechClient
from engine.api.errors import InputIdle, InvalidRequest, TextTooLong
from engine.prompt.token_stream import speakable
from qwentts_client.v1 import tts_pb2
from qwentts_grpc.rpc.incoming import GRACE, Incoming, cancel_may_come
from qwentts_grpc.wire.limits import Limits
from qwentts_grpc.wire.requests import checked_name

PAUSE = 0.002  # seconds; a longer gap between messages ends a burst
LONGEST_HOLD = 0.01  # seconds

Requests = AsyncIterator[tts_pb2.SynthesizeRequest]


async def first_config(requests: Requests, timeout: float) -> tts_pb2.SynthesisConfig:
    """The config that begins a turn.

    Raises `InputIdle` where none comes within `timeout` seconds.
    """
    try:
        async with asyncio.timeout(timeout):
            first = await anext(requests, None)
    except TimeoutError:
        raise InputIdle(f"no config came within {timeout:g} s") from None
    if first is None:
        await cancel_may_come()
    if first is None or first.WhichOneof("payload") != "config":
        raise InvalidRequest("config", "must be the first message of the turn", "CONFIG_NOT_FIRST")
    return first.config


class Text(Protocol):
    """Source of a turn's text."""

    async def open(self, await_burst: bool) -> None:
        """Where `await_burst`, wait for the burst that follows the config.

        A complete text is then recognised as complete.
        """

    def begin(self, speech: SpeechClient) -> None:
        """Feed the text received so far. Raises `InvalidRequest`, `TextTooLong`."""

    async def feed(self, speech: SpeechClient) -> None:
        """Feed the rest, to its end. Raises `InvalidRequest`, `TextTooLong`."""


class WholeText:
    """A complete text; `came` is the time of arrival."""

    def __init__(self, text: str, came: float) -> None:
        """Raises `InvalidRequest` for a text without anything speakable."""
        if not speakable(text):
            raise InvalidRequest("text", "has nothing to speak", "TEXT_EMPTY")
        self._text, self._came = text, came

    async def open(self, await_burst: bool) -> None:
        """Nothing to wait for."""

    def begin(self, speech: SpeechClient) -> None:
        speech.feed(self._text, self._came)
        speech.end(self._came)

    async def feed(self, speech: SpeechClient) -> None:
        """Nothing is left."""


class RequestReader:
    """Feeds a speech from the messages that follow the config.

    Ends at half-close or a cancel. `since`: arrival of the config; messages that are there already arrived while the
    turn was prepared, so they count from then.
    """

    def __init__(self, requests: Incoming[tts_pb2.SynthesizeRequest], limits: Limits, since: float) -> None:
        self._requests = requests
        self._limits = limits
        self._came: float | None = since  # of the message at hand; None: just now
        self._held: list[tuple[tts_pb2.SynthesizeRequest, float | None]] = []  # and when they came
        self._await_burst = False
        self._begun = False  # whether the segment has speakable text
        self._ended = self._cancelled = False
        self._appends = self._flushes = 0

    async def open(self, await_burst: bool) -> None:
        """Hold the burst that comes with the config."""
        self._await_burst = await_burst
        await self._hold()

    def begin(self, speech: SpeechClient) -> None:
        """Feed what is held."""
        held, self._held = self._held, []
        for request, came in held:
            self._cancelled = self._cancelled or self._take(request, came, speech)
        if self._ended and speech.speakable and not self._cancelled:
            speech.end(self._came)

    async def feed(self, speech: SpeechClient) -> None:
        """Feed the rest, until half-close, cancel or end."""
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
        """Hold one burst of messages, up to the segment's end."""
        until = time.monotonic() + LONGEST_HOLD
        while self._await_burst and time.monotonic() < until and await self._requests.comes_within(PAUSE):
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

    def _take(self, request: tts_pb2.SynthesizeRequest, came: float | None, speech: SpeechClient) -> bool:
        """Apply one message; True after a cancel or the end."""
        if speech.over:
            return True
        match request.WhichOneof("payload"):
            case "text":
                self._appends = _counted(self._appends, self._limits.appends, "messages of text")
                speech.feed(self._text(request.text.text), came)
            case "flush":
                self._flushes = _counted(self._flushes, self._limits.flushes, "flushes")
                speech.flush(checked_name("flush.mark", request.flush.mark), came)
            case "cancel":
                speech.cancel()
                return True
            case "config":
                raise InvalidRequest("config", "was given before; a turn has one", "CONFIG_REPEATED")
            case _:
                raise InvalidRequest("payload", "the message has no known payload")
        return False

    def _text(self, text: str) -> str:
        if len(text.encode()) > self._limits.chunk_bytes:
            raise TextTooLong(f"one text message holds more than {self._limits.chunk_bytes} bytes")
        return text


def _counted(before: int, most: int, what: str) -> int:
    """`before` plus one; raises `TextTooLong` past the limit."""
    if before >= most:
        raise TextTooLong(f"more than {most} {what} in one turn")
    return before + 1
