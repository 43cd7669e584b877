"""Caller's handle of a speech in another process."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, cast

from engine.api.event_queue import EventQueue
from engine.api.events import AudioChunk, Event, Finished, Notice, Started
from engine.api.request import SpeechRequest, TextFilter
from engine.api.text_input import TextInput
from engine.prompt.text_filter import MarkupFilter
from engine.prompt.token_stream import speakable
from engine.remote.messages import Cancel, Close, End, Failure, Flush, Taken, Text, TextCame

Send = Callable[[int, object], None]


class RemoteSpeech(TextInput):
    """A `SpeechClient` whose messages go through `send`.

    `request` has a seed. Belongs to the event loop's thread. The outbox is bounded by the engine, which hears of each
    chunk that has been taken.
    """

    def __init__(
        self,
        number: int,
        request: SpeechRequest,
        arrived: float,
        most_characters: int,
        send: Send,
        closed: Callable[[int], None],
    ) -> None:
        super().__init__(most_characters)
        assert request.sampling.seed is not None
        self.request_id, self.seed = request.request_id, request.sampling.seed
        self.limited = request.sampling.max_frames is not None
        self.text_came = arrived
        self._number, self._send, self._closed = number, send, closed
        self._filter = MarkupFilter() if request.delivery.text_filter is TextFilter.MARKUP else None
        self._characters, self._speakable, self._text_ended = 0, False, False
        self._outbox = EventQueue()

    @property
    def over(self) -> bool:
        """Whether the last event is queued, or an error set."""
        return self._outbox.over

    @property
    def speakable(self) -> bool:
        """Whether any text so far is speakable."""
        return self._speakable

    @property
    def characters(self) -> int:
        """Characters so far."""
        return self._characters

    @property
    def text_ended(self) -> bool:
        """Whether the text has ended."""
        return self._text_ended

    def _feed(self, text: str, came: float) -> None:
        self._characters += len(text)
        self._note(text if self._filter is None else self._filter.push(text).text)
        self._send(self._number, Text(text, came))

    def _flush(self, mark: str, came: float) -> None:
        self._drain()
        self._send(self._number, Flush(mark, came))

    def _drain(self) -> None:
        if self._filter is not None:
            self._note(self._filter.end().text)

    def _end(self, came: float) -> None:
        self._text_ended = True
        self._send(self._number, End(came))

    def _note(self, text: str) -> None:
        self._speakable = self._speakable or speakable(text)

    def cancel(self) -> None:
        """Stop now; `Finished` follows the audio already queued."""
        if not self.over:
            self._send(self._number, Cancel())

    def notify(self, notice: Notice) -> None:
        """Queue a notice, once per code, behind `Started`."""
        self._outbox.notify(notice)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        asked = time.monotonic()
        event, ready = await self._outbox.get()
        if isinstance(event, AudioChunk):
            self._send(self._number, Taken(ready, asked, time.monotonic()))
        return event

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.over:
            self._outbox.over = True
            self._send(self._number, Close())
        self._outbox.clear()
        self._closed(self._number)

    def receive(self, message: object) -> None:
        """Take a message of the engine's process."""
        if self.over:
            return
        match message:
            case TextCame(came):
                self.text_came = came
            case Failure():
                self._outbox.fail(message.error())
            case Started():
                self._outbox.start(message)
            case Notice():
                self._outbox.notify(message)
            case _:
                self._outbox.put(cast(Event, message))
                self._outbox.over = isinstance(message, Finished)
