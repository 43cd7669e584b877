"""What a caller sends in one turn: the config first, then text, flushes and a cancel, into a speech."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from engine.errors import EngineError, InputIdle, InvalidRequest, TextTooLong
from engine.speech import Speech
from engine.text import speakable
from qwentts_client.v1 import tts_pb2
from qwentts_grpc.convert import name
from qwentts_grpc.limits import Limits

MOMENT = 0.02  # seconds: longer than a message is on its way, shorter than anyone notices

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


def whole_text(text: str) -> str:
    """`text`, or `InvalidRequest` where there is nothing in it to speak."""
    if not speakable(text):
        raise InvalidRequest("text", "has nothing to speak", "TEXT_EMPTY")
    return text


@asynccontextmanager
async def heard_out(requests: AsyncIterator[object]) -> AsyncIterator[None]:
    """Where the turn fails, take in what its caller is just sending, until a moment passes without a message.

    grpcio's asyncio client reports INTERNAL in place of the status where a status meets one of its writes.
    """
    try:
        yield
    except (EngineError, ExceptionGroup):
        until = time.monotonic() + 10 * MOMENT  # asyncio.timeout around wait_for can miss its moment in a flood
        with suppress(TimeoutError, StopAsyncIteration, EngineError):
            while time.monotonic() < until:
                await asyncio.wait_for(anext(requests), MOMENT)
        raise


async def cancel_may_come() -> None:
    """A call that its caller cancels shows first as one without more messages; let the cancel arrive."""
    await asyncio.sleep(MOMENT)


class TurnReader:
    """Feeds a speech from the messages that follow the config, until half-close or a cancel.

    `since`: when the config came; messages that need not be waited for have lain there while the turn was prepared,
    so they count as having come then.
    """

    def __init__(self, requests: Requests, limits: Limits, since: float) -> None:
        self._requests = requests
        self._limits = limits
        self._came: float | None = since  # of the message at hand; None: just now
        self._appends = 0
        self._flushes = 0

    async def feed(self, speech: Speech) -> None:
        """Raises `InvalidRequest` and `TextTooLong`; returns where nothing more can matter."""
        asked = time.monotonic()
        async for request in self._requests:
            self._note_wait(time.monotonic() - asked)
            if self._take(request, speech):
                return
            asked = time.monotonic()
        self._note_wait(time.monotonic() - asked)
        if not speech.speakable:
            await cancel_may_come()
        speech.end(self._came)

    def _note_wait(self, seconds: float) -> None:
        if seconds > MOMENT:
            self._came = None

    def _take(self, request: tts_pb2.SynthesizeRequest, speech: Speech) -> bool:
        """One message into the speech; True where nothing counts any more: after a cancel, or when it has ended."""
        if speech.over:
            return True
        match request.WhichOneof("payload"):
            case "text":
                self._appends = _counted(self._appends, self._limits.appends, "messages of text")
                speech.feed(self._text(request.text.text), self._came)
            case "flush":
                self._flushes = _counted(self._flushes, self._limits.flushes, "flushes")
                speech.flush(name("flush.mark", request.flush.mark), self._came)
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
