"""A turn: one call from first attempt to summary."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import grpc

from qwentts_client.errors import TTSError
from qwentts_client.outbox import Outbox
from qwentts_client.retries import Retries
from qwentts_client.status import FinalStatus
from qwentts_client.text import Flush, Text, as_requests
from qwentts_client.v1 import tts_pb2

if TYPE_CHECKING:
    from typing_extensions import Self

CLOSE_TIMEOUT = 1.0  # seconds for a text source to end
MOST_WAITING = 1_000_000  # characters written ahead of what the server has received

Event = (
    tts_pb2.Started
    | tts_pb2.AudioFrame
    | tts_pb2.SegmentDone
    | tts_pb2.FlushDone
    | tts_pb2.WordTimings
    | tts_pb2.Notice
    | tts_pb2.Summary
)
Caller = Callable[[AsyncIterator[tts_pb2.SynthesizeRequest], float | None], Any]


class Turn:
    """One turn: iterate over its frames, or its `events`, once.

    `started`, `notices` and `summary` fill as messages come. Belongs to the event loop that it was made in.
    Raises `TTSError` where the call fails, and what the text source raises. An end by `cancel` or `stop` is no error.
    """

    def __init__(self, open_call: Caller, outbox: Outbox, retries: Retries) -> None:
        self.started = tts_pb2.Started()
        self.summary = tts_pb2.Summary()
        self.notices: list[tts_pb2.Notice] = []
        self.cancelled = False
        self._open_call = open_call
        self._outbox = outbox
        self._retries = retries
        self._pump: asyncio.Task[None] | None = None
        self._has_started = False
        self._peeked: Event | None = None  # read by `wait_started`, not yet iterated over
        self._failure: BaseException | None = None
        self._stopped = False
        self._reading = asyncio.Lock()
        self._received = tts_pb2.Summary(finish_reason=tts_pb2.FINISH_REASON_CANCELLED)
        self._open()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __aiter__(self) -> AsyncIterator[tts_pb2.AudioFrame]:
        return self._frames()

    async def events(self) -> AsyncIterator[Event]:
        """All events of the server: `Started` first, `Summary` last."""
        try:
            while not self._stopped and (event := await self._next()) is not None:
                yield event
        finally:
            self._leave()

    async def wait_started(self) -> tts_pb2.Started:
        """The turn's effective settings, once it is admitted.

        The iteration still gets the event.
        """
        if not self._has_started and self._peeked is None:
            self._peeked = await self._next()
        return self.started

    def cancel(self) -> None:
        """Stop at once, without a summary."""
        if not self._done:
            self.cancelled = True
        self._finish()

    async def stop(self, reason: str = "", limit: float = 5.0) -> tts_pb2.Summary:
        """Stop the turn with its summary, dropping unread audio.

        The summary is the server's where possible: until the text has ended, and within `limit` seconds. Otherwise the
        call is cancelled, and the summary has what the client has: reason, seed, lengths of the audio.
        """
        self._stopped = True
        if not self._done and self._outbox.cancel(reason):
            with contextlib.suppress(TTSError, asyncio.TimeoutError):
                await asyncio.wait_for(self._drain(), limit)
        self.cancel()
        if not self.summary.finish_reason:
            self.summary = self._received
        return self.summary

    async def aclose(self) -> None:
        """Stop at once; give the text source time to end."""
        self.cancel()
        if self._pump is not None:
            await asyncio.wait({self._pump}, timeout=CLOSE_TIMEOUT)

    def feed(self, text: Text) -> None:
        """Send `text` as it comes; called once, before anything else."""
        self._pump = asyncio.get_running_loop().create_task(self._outbox.pump(text))

    def __del__(self) -> None:
        with contextlib.suppress(RuntimeError, AttributeError):  # the loop is closed; the first call failed
            self._finish()

    @property
    def _done(self) -> bool:
        return bool(self.summary.finish_reason) or self._failure is not None or self.cancelled

    async def _frames(self) -> AsyncIterator[tts_pb2.AudioFrame]:
        try:
            while not self._stopped and (event := await self._next()) is not None:
                if isinstance(event, tts_pb2.AudioFrame):
                    yield event
        finally:
            self._leave()

    def _leave(self) -> None:
        """Cancel an abandoned iteration's call, unless `stop` needs it."""
        if not self._stopped:
            self.cancel()

    async def _drain(self) -> None:
        while await self._next() is not None:
            pass

    async def _next(self) -> Event | None:
        """The next event, or None at the end."""
        async with self._reading:
            if self._peeked is not None:
                peeked, self._peeked = self._peeked, None
                return peeked
            while (response := await self._response()) is not None:
                kind = response.WhichOneof("payload")
                if kind is not None:  # a newer server may send what this client does not support
                    event: Event = getattr(response, kind)
                    self._keep(event)
                    return event
            return None

    async def _response(self) -> tts_pb2.SynthesizeResponse | None:
        while True:
            if self._failure is not None:
                raise self._failure
            try:
                response: tts_pb2.SynthesizeResponse = await anext(self._responses)
                return response
            except StopAsyncIteration:
                return None
            except asyncio.CancelledError:
                self._failure = self._outbox.failure
                if self._failure is None and self.cancelled:
                    return None
                if self._failure is None or _being_cancelled():
                    raise
            except grpc.aio.AioRpcError as error:
                if self.summary.finish_reason:  # nothing was lost
                    return None
                await self._failed(error)

    async def _failed(self, error: grpc.aio.AioRpcError) -> None:
        """Begin another attempt, or store the final error."""
        failure = await self._retries.decoded(error, self._status)
        again = not (self._has_started or self._stopped)
        if again and await self._retries.wait(failure, self._outbox.over):
            self._open()
        elif not self.cancelled:
            self._failure = self._outbox.failure or failure
            self._finish()

    def _open(self) -> None:
        self._call = self._outbox.call = self._open_call(self._outbox.stream(), self._retries.remaining())
        self._status = FinalStatus(self._call)
        self._responses = aiter(self._call)

    def _keep(self, event: Event) -> None:
        if isinstance(event, tts_pb2.Started):
            self.started, self._has_started = event, True
            self._received.seed = event.seed
            self._received.queue_wait.CopyFrom(event.queue_wait)
            self._outbox.drop_sent()
            self._retries.reached()
        elif isinstance(event, tts_pb2.Notice):
            self.notices.append(event)
        elif isinstance(event, tts_pb2.Summary):
            self.summary = event
        elif isinstance(event, tts_pb2.AudioFrame):
            self._count(event)

    def _count(self, frame: tts_pb2.AudioFrame) -> None:
        end = frame.pts.ToNanoseconds() + frame.duration.ToNanoseconds()
        self._received.audio_duration.FromNanoseconds(end)
        self._received.audio_samples = round(end * self.started.audio_format.sample_rate_hertz / 1e9)
        self._received.audio_frames += 1

    def _finish(self) -> None:
        self._outbox.close()
        if self._pump is not None:
            self._pump.cancel()
        self._call.cancel()  # no effect on a call that has ended


class WritableTurn(Turn):
    """A turn with written text, dropped after the end."""

    def write(self, text: str) -> None:
        """Send a piece of text, of any size.

        Raises TypeError for anything else, ValueError after `end` or for half a surrogate pair, and BufferError where
        more than a million characters wait to be sent.
        """
        if not isinstance(text, str):
            raise TypeError(f"text is a {type(text).__name__}, not a str")
        self._send(text)

    def flush(self, mark: str = "") -> None:
        """Have all text so far spoken; `FlushDone` has this mark."""
        self._send(Flush(mark))

    def end(self) -> None:
        """End the text."""
        self._outbox.end()

    def fail(self, error: BaseException) -> None:
        """End the turn with `error`, raised to its reader.

        For a failed source of text.
        """
        self._outbox.fail(error)

    def _send(self, piece: str | Flush) -> None:
        if self._done or self._stopped or self._outbox.over.is_set():
            return
        if self._outbox.ended:
            raise ValueError("the text of this turn has ended")
        if self._outbox.waiting > MOST_WAITING:
            raise BufferError("a million characters wait to be sent")
        for request in as_requests(piece, 0):
            self._outbox.put(request)


def _being_cancelled() -> bool:
    """Whether the running task is being cancelled.

    Always False on Python 3.10, which has no `Task.cancelling`.
    """
    task = asyncio.current_task()
    return bool(task and getattr(task, "cancelling", int)())
