"""Events of one speech on their way to its caller."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator

from engine.api.errors import EngineError
from engine.api.events import Event, Notice, NoticeCode, Started


class EventQueue:
    """Queue of events, each with the time it came.

    Belongs to the event loop's thread.
    `over`: whether the last event is queued, or an error set. The speech's pacing bounds the queue.
    """

    def __init__(self) -> None:
        self.over = False
        self._events: deque[tuple[Event, float]] = deque()
        self._arrival = asyncio.Event()
        self._error: EngineError | None = None
        self._started = False
        self._noticed: dict[NoticeCode, Notice] = {}

    def __len__(self) -> int:
        return len(self._events)

    def __iter__(self) -> Iterator[Event]:
        return (event for event, _ in self._events)

    def put(self, event: Event) -> None:
        """Queue an event."""
        self._events.append((event, time.monotonic()))
        self.look_again()

    def start(self, started: Started) -> None:
        """Queue the first event, then the notices before it."""
        self._started = True
        self.put(started)
        for notice in self._noticed.values():
            self.put(notice)

    def notify(self, notice: Notice) -> None:
        """Queue a notice, once per code, behind `Started`."""
        if not self.over and notice.code not in self._noticed:
            self._noticed[notice.code] = notice
            if self._started:
                self.put(notice)

    def fail(self, error: EngineError) -> None:
        """End with an error, raised once the queue is empty.

        Nothing after the end.
        """
        if not self.over:
            self._error, self.over = error, True
            self.look_again()

    def look_again(self) -> None:
        """Have `get` check its first event again."""
        self._arrival.set()

    async def get(self, held: Callable[[Event], bool] = lambda event: False) -> tuple[Event, float]:
        """First event with its arrival, once it is not `held`.

        Raises the error of `fail`, or `StopAsyncIteration` at the end.
        """
        while not self._events or held(self._events[0][0]):
            if not self._events and self._error is not None:
                raise self._error
            if not self._events and self.over:
                raise StopAsyncIteration
            self._arrival.clear()
            await self._arrival.wait()
        return self._events.popleft()

    def clear(self) -> None:
        """Drop what is queued."""
        self._events.clear()
