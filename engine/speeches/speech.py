"""Caller's handle of one speech: text in, events out."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import numpy as np

from engine.api.errors import EngineError
from engine.api.events import AudioChunk, Event, Finished, FinishReason, Notice, Started
from engine.api.observer import Observer
from engine.api.text_input import TextInput
from engine.scheduler.sequence import Sequence
from engine.speeches.outbox import Outbox


class Speech(TextInput):
    """Asynchronous iterator of events: `Started` first, `Finished` last.

    Used as a context manager it cancels on exit whatever is unfinished. All methods belong to the event loop's
    thread. The outbox is bounded by the pacing: a caller that stops reading stops the synthesis `max_lead` later, or
    when `Outboxes` has no more room. A relay to a caller elsewhere takes events by `outbox.receive`, and calls
    `outbox.acknowledge` when the caller has taken a chunk.
    """

    def __init__(
        self,
        sequence: Sequence,
        most_characters: int,
        observer: Observer,
        wake: Callable[[], None],
        drop: Callable[["Speech"], None],
    ) -> None:
        super().__init__(most_characters)
        self.sequence = sequence
        self._wake, self._drop = wake, drop
        self.outbox = Outbox(sequence, observer, wake)
        self._last_sent = False
        self._first_audio: float | None = None

    @property
    def request_id(self) -> str:
        """Id of the request, as given."""
        return self.sequence.request.request_id

    @property
    def seed(self) -> int:
        """Seed in use, which repeats the audio."""
        return self.sequence.seed

    @property
    def over(self) -> bool:
        """Whether the last event is queued, or an error set."""
        return self.outbox.over

    @property
    def limited(self) -> bool:
        """Whether the request limits the length of the audio."""
        return self.sequence.request.sampling.max_frames is not None

    @property
    def unread_since(self) -> float | None:
        """When the caller last took an event.

        None where none waits for it.
        """
        return self.outbox.unread_since

    @property
    def text_came(self) -> float:
        """When the text allowed the first audio.

        The request's arrival where the text was there by then.
        """
        return max(self.sequence.arrived, self.sequence.waits.text_came or 0.0)

    @property
    def speakable(self) -> bool:
        """Whether any text so far is speakable."""
        return self.sequence.text.speakable

    @property
    def characters(self) -> int:
        """Characters so far."""
        return self.sequence.text.characters

    @property
    def text_ended(self) -> bool:
        """Whether the text has ended."""
        return self.sequence.text.ended

    def _feed(self, text: str, came: float) -> None:
        self.sequence.text.append(text)
        self._note_text(text, came)

    def _flush(self, mark: str, came: float) -> None:
        self.sequence.text.flush(mark)
        self._note_text(None, came)

    def _drain(self) -> None:
        self.sequence.text.drain()

    def _end(self, came: float) -> None:
        self.sequence.text.end()
        self._note_text(None, came)

    def _note_text(self, text: str | None, came: float) -> None:
        self.sequence.note_text(text, came)
        self._wake()

    def cancel(self) -> None:
        """Stop now.

        `Finished` with reason CANCELLED follows the audio already queued.
        """
        if not self.over:
            self._drop(self)
            self.finish(FinishReason.CANCELLED)

    def notify(self, notice: Notice) -> None:
        """Queue a notice, once per code, behind `Started`."""
        self.outbox.notify(notice)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        asked = time.monotonic()
        event = await self.outbox.receive()
        if isinstance(event, AudioChunk):
            self.outbox.acknowledge(asked, time.monotonic())
        return event

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Cancel whatever is unfinished; drop what is unread."""
        self.cancel()
        self.outbox.discard()

    # ---- the engine's side

    def started(self) -> None:
        """Queue `Started`: the speech has its slot."""
        self.outbox.start(Started(self.seed, self._queue_wait, self.sequence.text.mode))

    def deliver(self, event: Event) -> None:
        """Queue an event for the caller."""
        if isinstance(event, AudioChunk):
            self._last_sent = event.last
            if self._first_audio is None and len(event.codes):
                self._first_audio = time.monotonic()
        self.outbox.put(event)

    def finish(self, reason: FinishReason) -> None:
        """Queue the end, behind a last chunk.

        An empty last chunk is added if the audio's last was not marked.
        """
        if not self._last_sent:
            self.deliver(self._empty_chunk())
        self.outbox.finish(self._summary(reason))

    def fail(self, error: EngineError) -> None:
        """End the speech with an error.

        It is raised once the queued events have been taken; after the speech's end nothing happens.
        """
        self.outbox.fail(error)

    @property
    def _queue_wait(self) -> float:
        admitted = self.sequence.admitted
        return 0.0 if admitted is None else admitted - self.sequence.arrived

    def _empty_chunk(self) -> AudioChunk:
        sequence = self.sequence
        groups, frames = sequence.layout.config.code_groups, sequence.playback.frames
        number = sequence.segment.number
        return AudioChunk(
            np.empty(0, np.int16),
            np.empty((0, groups), np.int32),
            frames,
            number,
            last=True,
            sampled_at=time.monotonic(),
        )

    def _summary(self, reason: FinishReason) -> Finished:
        sequence, now = self.sequence, time.monotonic()
        first_audio = self._first_audio
        return Finished(
            reason=reason,
            frames=sequence.playback.frames,
            text_characters=sequence.text.characters,
            text_tokens=sequence.tokens + (sequence.segment.tokens if sequence.text.segments else 0),
            seed=sequence.seed,
            queue_wait=self._queue_wait,
            time_to_first_audio=0.0 if first_audio is None else first_audio - sequence.arrived,
            total_time=now - sequence.arrived,
            server_first_audio=0.0 if first_audio is None else first_audio - self.text_came,
            work=0.0 if sequence.admitted is None else sequence.waits.work(sequence.admitted, now),
        )
