"""Events of one speech until its caller has taken them."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from engine.api.errors import EngineError
from engine.api.event_queue import EventQueue
from engine.api.events import AudioChunk, Event, Finished, Notice, Started
from engine.api.observer import Observer
from engine.scheduler.receiver import Receiver
from engine.scheduler.sequence import Sequence


class Outbox:
    """Queue of events, with counts of unread, late ones.

    `wake` is called when room has come free. Belongs to the event loop's thread.
    """

    def __init__(self, sequence: Sequence, observer: Observer, wake: Callable[[], None]) -> None:
        self._sequence, self._wake = sequence, wake
        self._events = EventQueue()
        self._untaken: deque[tuple[AudioChunk, float]] = deque()  # received, not yet acknowledged
        self._receiver = Receiver(observer, sequence.frame_seconds)
        self._last_taken = time.monotonic()

    @property
    def over(self) -> bool:
        """Whether the last event is queued, or an error set."""
        return self._events.over

    @property
    def unread_since(self) -> float | None:
        """When the caller last took an event.

        None where none waits for it.
        """
        return self._last_taken if self._unread else None

    def start(self, started: Started) -> None:
        """Queue the first event, then the notices before it."""
        self._note_unread()
        self._events.start(started)

    def put(self, event: Event) -> None:
        """Queue an event."""
        if isinstance(event, AudioChunk):
            self._sequence.outboxes.put(len(event.codes))
        self._note_unread()
        self._events.put(event)

    def notify(self, notice: Notice) -> None:
        """Queue a notice, once per code, behind `Started`."""
        self._note_unread()
        self._events.notify(notice)

    def finish(self, finished: Finished) -> None:
        """Queue the last event."""
        self._events.put(finished)
        self._events.over = True

    def fail(self, error: EngineError) -> None:
        """End with an error, raised once the queue is empty.

        Nothing after the end.
        """
        self._events.fail(error)

    async def receive(self) -> Event:
        """The next event; a chunk counts as unread until `acknowledge`.

        `Finished` comes when all chunks are acknowledged. Raises `StopAsyncIteration` at the end, or the error with
        which the speech ended.
        """
        event, ready = await self._events.get(lambda event: bool(self._untaken) and isinstance(event, Finished))
        if not self._untaken:
            self._last_taken = time.monotonic()
        match event:
            case AudioChunk():
                self._untaken.append((event, ready))
            case Finished():
                return self._measured(event)
        return event

    def acknowledge(self, asked: float, taken: float, ready: float | None = None) -> None:
        """Count the oldest received chunk as taken at `taken`.

        `asked`: when the caller came for it; `ready`: when it could have had it, None for the queue's own time.
        """
        if not self._untaken:
            return
        chunk, put = self._untaken.popleft()
        self._last_taken = taken
        self._take(chunk, put if ready is None else ready, asked, taken)
        self._events.look_again()

    def discard(self) -> None:
        """Drop events that will never be taken."""
        left = (*(chunk for chunk, _ in self._untaken), *self._events)
        self._sequence.outboxes.put(-sum(len(event.codes) for event in left if isinstance(event, AudioChunk)))
        self._untaken.clear()
        self._events.clear()
        self._wake()

    @property
    def _unread(self) -> bool:
        return bool(self._events or self._untaken)

    def _note_unread(self) -> None:
        """Begin to time the wait, where no event waits."""
        if not self._unread:
            self._last_taken = time.monotonic()

    def _take(self, chunk: AudioChunk, ready: float, asked: float, taken: float) -> None:
        sequence = self._sequence
        if frames := len(chunk.codes):
            text_came = sequence.waits.text_for(chunk.first_frame + frames)
            self._receiver.take(frames, ready, asked, taken, text_came)
            sequence.taken += frames
            sequence.outboxes.put(-frames)
            self._wake()

    def _measured(self, finished: Finished) -> Finished:
        """`finished` with totals that depend on the caller's reading."""
        playback, lateness = self._receiver.playback, self._receiver.lateness
        return replace(finished, longest_gap=playback.longest_gap, underruns=playback.underruns, lateness=lateness)
