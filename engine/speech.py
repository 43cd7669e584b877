"""Caller's handle of one speech: text in, events out."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Self

import numpy as np

from engine.api.errors import EngineError, InvalidRequest, TextTooLong
from engine.api.event_queue import EventQueue
from engine.api.events import AudioChunk, Event, Finished, FinishReason, Notice, Started
from engine.api.observer import Observer
from engine.scheduler.receiver import Receiver
from engine.scheduler.sequence import Sequence


class Speech:
    """Asynchronous iterator of events: `Started` first, `Finished` last.

    Used as a context manager it cancels on exit whatever is unfinished. All methods belong to the event loop's
    thread. The outbox is bounded by the pacing: a caller that stops reading stops the synthesis `max_lead` later, or
    when `Outboxes` has no more room. A relay to a caller elsewhere takes events by `receive`, and calls `acknowledge`
    when the caller has taken a chunk.
    """

    def __init__(
        self,
        sequence: Sequence,
        characters: int,
        observer: Observer,
        wake: Callable[[], None],
        drop: Callable[["Speech"], None],
    ) -> None:
        self.sequence = sequence
        self._characters, self._wake, self._drop = characters, wake, drop
        self._outbox = EventQueue()
        self._untaken: deque[tuple[AudioChunk, float]] = deque()  # received, not yet acknowledged
        self._receiver = Receiver(observer, sequence.frame_seconds)
        self._last_sent = False
        self._first_audio: float | None = None
        self.last_taken = time.monotonic()

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
        return self._outbox.over

    @property
    def speakable(self) -> bool:
        """Whether any text so far is speakable."""
        return self.sequence.speakable

    @property
    def limited(self) -> bool:
        """Whether the request limits the length of the audio."""
        return self.sequence.request.sampling.max_frames is not None

    @property
    def unread(self) -> bool:
        """Whether events wait for the caller."""
        return bool(self._outbox or self._untaken)

    @property
    def text_came(self) -> float:
        """When the text allowed the first audio.

        The request's arrival where the text was there by then.
        """
        return max(self.sequence.arrived, self.sequence.waits.text_came or 0.0)

    def feed(self, text: str, came: float | None = None) -> None:
        """Append text verbatim; it may end inside a word.

        `came`: `time.monotonic()` when it reached the server, where that was not just now.
        Raises `TextTooLong` past the limit of characters, `InvalidRequest` after the end of the text.
        """
        if self.sequence.text_ended:
            raise InvalidRequest("text", "came after the end of the text")
        if self.sequence.characters + len(text) > self._characters:
            raise TextTooLong(f"the text is over {self._characters} characters")
        self.sequence.append_text(text)
        self._note_text(text, came)

    def flush(self, mark: str, came: float | None = None) -> None:
        """Synthesise all text so far, then send `FlushDone(mark)`.

        Later text starts the next segment. Raises `InvalidRequest` after the end of the text.
        """
        if self.sequence.text_ended:
            raise InvalidRequest("flush", "came after the end of the text")
        self.sequence.flush(mark)
        self._note_text(None, came)

    def end(self, came: float | None = None) -> None:
        """End the text; raises `InvalidRequest` if none is speakable."""
        if self.sequence.text_ended:
            return
        self.sequence.drain()
        if not self.speakable:
            raise InvalidRequest("text", "has nothing to speak", "TEXT_EMPTY")
        self.sequence.end()
        self._note_text(None, came)

    def cancel(self) -> None:
        """Stop now.

        `Finished` with reason CANCELLED follows the audio already queued.
        """
        if not self.over:
            self._drop(self)
            self.finish(FinishReason.CANCELLED)

    def notify(self, notice: Notice) -> None:
        """Queue a notice, once per code, behind `Started`."""
        self._note_unread()
        self._outbox.notify(notice)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        asked = time.monotonic()
        event = await self.receive()
        if isinstance(event, AudioChunk):
            self.acknowledge(asked, time.monotonic())
        return event

    async def receive(self) -> Event:
        """The next event; a chunk counts as unread until `acknowledge`.

        `Finished` comes when all chunks are acknowledged. Raises `StopAsyncIteration` at the end, or the error with
        which the speech ended.
        """
        event, ready = await self._outbox.get(lambda event: bool(self._untaken) and isinstance(event, Finished))
        if not self._untaken:
            self.last_taken = time.monotonic()
        match event:
            case AudioChunk():
                self._untaken.append((event, ready))
            case Finished():
                return self._measured(event)
        return event

    def acknowledge(self, asked: float, taken: float, ready: float | None = None) -> None:
        """Count the oldest received chunk as taken at `taken`.

        `asked`: when the caller came for it; `ready`: when it could have had it, None for the outbox's own time.
        """
        if not self._untaken:
            return
        chunk, put = self._untaken.popleft()
        self.last_taken = taken
        self._take(chunk, put if ready is None else ready, asked, taken)
        self._outbox.look_again()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Cancel whatever is unfinished; drop what is unread."""
        self.cancel()
        self._discard()

    # ---- the engine's side

    def started(self) -> None:
        """Queue `Started`: the speech has its slot."""
        self._note_unread()
        self._outbox.start(Started(self.seed, self._queue_wait, self.sequence.text_mode))

    def deliver(self, event: Event) -> None:
        """Queue an event for the caller."""
        if isinstance(event, AudioChunk):
            self.sequence.outboxes.put(len(event.codes))
            self._last_sent = event.last
            if self._first_audio is None and len(event.codes):
                self._first_audio = time.monotonic()
        self._note_unread()
        self._outbox.put(event)

    def finish(self, reason: FinishReason) -> None:
        """Queue the end, behind a last chunk.

        An empty last chunk is added if the audio's last was not marked.
        """
        if not self._last_sent:
            self.deliver(self._empty_chunk())
        self._outbox.put(self._summary(reason))
        self._outbox.over = True

    def fail(self, error: EngineError) -> None:
        """End the speech with an error.

        It is raised once the queued events have been taken; after the speech's end nothing happens.
        """
        self._outbox.fail(error)

    def _note_unread(self) -> None:
        """Begin to count how long events wait, where none does yet."""
        if not self.unread:
            self.last_taken = time.monotonic()

    def _discard(self) -> None:
        """Drop events that will never be taken."""
        left = (*(chunk for chunk, _ in self._untaken), *self._outbox)
        self.sequence.outboxes.put(-sum(len(event.codes) for event in left if isinstance(event, AudioChunk)))
        self._untaken.clear()
        self._outbox.clear()
        self._wake()

    def _note_text(self, text: str | None, came: float | None) -> None:
        self.sequence.note_text(text, time.monotonic() if came is None else came)
        self._wake()

    def _take(self, chunk: AudioChunk, ready: float, asked: float, taken: float) -> None:
        if frames := len(chunk.codes):
            text_came = self.sequence.waits.text_for(chunk.first_frame + frames)
            self._receiver.take(frames, ready, asked, taken, text_came)
            self.sequence.taken += frames
            self.sequence.outboxes.put(-frames)
            self._wake()

    def _measured(self, finished: Finished) -> Finished:
        """`finished` with totals that depend on the caller's reading."""
        playback, lateness = self._receiver.playback, self._receiver.lateness
        return replace(finished, longest_gap=playback.longest_gap, underruns=playback.underruns, lateness=lateness)

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
            text_characters=sequence.characters,
            text_tokens=sequence.tokens + (sequence.segment.tokens if sequence.segments else 0),
            seed=sequence.seed,
            queue_wait=self._queue_wait,
            time_to_first_audio=0.0 if first_audio is None else first_audio - sequence.arrived,
            total_time=now - sequence.arrived,
            server_first_audio=0.0 if first_audio is None else first_audio - self.text_came,
            work=0.0 if sequence.admitted is None else sequence.waits.work(sequence.admitted, now),
        )
