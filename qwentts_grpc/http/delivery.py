"""A turn's audio on its way into one HTTP response."""

import asyncio
import base64
import json
import logging
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Any, Protocol

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from qwentts_client import AsyncClient, AudioFrame, Started, TTSError, Turn
from qwentts_grpc.http.calls import Call, Calls
from qwentts_grpc.http.errors import refused, unusable
from qwentts_grpc.http.fields import SpeechFields
from qwentts_grpc.http.formats import Pipeline

WRITE_TIMEOUT = 30.0  # seconds in which a reader must take what the socket holds

log = logging.getLogger(__name__)


class Body(Protocol):
    """How audio becomes the body of a response."""

    media_type: str

    def data(self, audio: bytes) -> bytes:
        """A piece of the body."""

    def end(self, turn: Turn) -> bytes:
        """The last piece."""

    def failure(self, error: TTSError) -> bytes | None:
        """The last piece where the turn fails.

        None breaks the connection.
        """


class AudioBody:
    """The bare audio."""

    def __init__(self, media_type: str) -> None:
        self.media_type = media_type

    def data(self, audio: bytes) -> bytes:
        return audio

    def end(self, turn: Turn) -> bytes:
        return b""

    def failure(self, error: TTSError) -> bytes | None:
        return None


class EventBody:
    """Server-sent events, with the audio in base64."""

    media_type = "text/event-stream"

    def data(self, audio: bytes) -> bytes:
        return _event({"type": "speech.audio.delta", "audio": base64.b64encode(audio).decode()})

    def end(self, turn: Turn) -> bytes:
        """Usage: text tokens in, codec frames out."""
        read, made = turn.summary.text_tokens, turn.summary.codec_frames
        usage = {"input_tokens": read, "output_tokens": made, "total_tokens": read + made}
        return _event({"type": "speech.audio.done", "usage": usage})

    def failure(self, error: TTSError) -> bytes | None:
        return _event(refused(error).body())


class SpeechResponse(Response):
    """One turn as a response.

    What is refused is raised before the first byte. A caller who leaves, waits for its place included, ends the turn.
    """

    def __init__(self, client: AsyncClient, fields: SpeechFields, calls: Calls, timeout: float) -> None:
        self._client, self._fields, self._calls, self._timeout = client, fields, calls, timeout
        self._pipeline = Pipeline(fields.response_format, fields.speed, fields.volume)
        self._body: Body = EventBody() if fields.events else AudioBody(self._pipeline.media_type)
        self.status_code = 200
        self.media_type = self._body.media_type
        self.init_headers({"cache-control": "no-store"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._calls.open() as call:
            await until_gone(receive, self._speak(call, scope["state"]["request_id"], send))

    async def _speak(self, call: Call, request_id: str, send: Send) -> None:
        async with self._turn(request_id) as turn, aclosing(self._audio(turn, call)) as audio:
            first = await anext(audio, b"")
            await _put(send, {"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            try:
                await _put_body(send, self._body.data(first))
                async for data in audio:
                    await _put_body(send, self._body.data(data))
                last = self._body.end(turn)
            except TTSError as error:
                log.warning("%s: %s", request_id, error)
                if (told := self._body.failure(error)) is None:
                    return  # an incomplete response is closed as broken
                last = told
            await _put_body(send, last, more=False)

    def _turn(self, request_id: str) -> Turn:
        try:
            return self._client.synthesize(
                self._fields.text,
                encoding=self._pipeline.encoding,
                paced=False,
                timeout=self._timeout,
                request_id=request_id,
                **self._fields.options,
            )
        except (ValueError, TypeError) as error:
            raise unusable(error) from error

    async def _audio(self, turn: Turn, call: Call) -> AsyncGenerator[bytes, None]:
        """Pieces of the stream, none empty."""
        opening = asyncio.create_task(self._open())
        async for event in turn.events():
            call.started |= isinstance(event, Started)
            if isinstance(event, AudioFrame) and (data := await self._processed(event.data, opening)):
                yield data
        await opening
        if self._pipeline.stages and (data := await asyncio.to_thread(self._pipeline.finish)):
            yield data

    async def _open(self) -> None:
        if self._pipeline.stages:
            await asyncio.to_thread(self._pipeline.open)

    async def _processed(self, data: bytes, opening: asyncio.Task[None]) -> bytes:
        if not self._pipeline.stages:
            return data
        await opening
        return await asyncio.to_thread(self._pipeline.process, data)


async def until_gone(receive: Receive, work: Coroutine[Any, Any, None]) -> None:
    """Do `work`; cancel it once the caller disconnects."""
    working, leaving = asyncio.create_task(work), asyncio.create_task(_gone(receive))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        over = working.done()
        for task in (working, leaving):
            task.cancel()
        await asyncio.wait((working, leaving))
    if over:
        working.result()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _put_body(send: Send, data: bytes, more: bool = True) -> None:
    if data or not more:
        await _put(send, {"type": "http.response.body", "body": data, "more_body": more})


async def _put(send: Send, message: Message) -> None:
    """Send; raises ConnectionError for a reader that has stopped."""
    try:
        async with asyncio.timeout(WRITE_TIMEOUT):
            await send(message)
    except TimeoutError:
        raise ConnectionAbortedError("the reader has stopped") from None


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"
