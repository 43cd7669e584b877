"""One audio context's turn on the server."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Callable

import grpc

from qwentts_client import AudioFrame, Event, SegmentDone, TTSError, WritableTurn

PAUSE = 0.5  # seconds without text after which a sentence counts as complete
SENTENCE_END = re.compile(r"""[.!?…。！？]["'”’»)\]]*\s*$""")


class PlaybackClock:
    """End of playback of all audio so far.

    Audio comes faster than it is played, or later than wanted where text is late.
    """

    def __init__(self) -> None:
        self._end = 0.0

    def start(self) -> float:
        """When audio that comes now begins, in seconds."""
        return max(self._end, time.monotonic())

    def add(self, seconds: float) -> float:
        """When audio that comes now, `seconds` long, ends."""
        self._end = self.start() + seconds
        return self._end

    def stop(self) -> None:
        """Drop what was to be played."""
        self._end = 0.0


class Speech:
    """A turn with the text that was written to it."""

    def __init__(self, open_turn: Callable[[], WritableTurn], clock: PlaybackClock, retry_for: float) -> None:
        self.ended = asyncio.Event()  # no text follows
        self.reader: asyncio.Task[None] | None = None
        self._open_turn = open_turn
        self._clock = clock
        self._until = time.monotonic() + retry_for
        self._cancelled = asyncio.Event()
        self._turn = open_turn()
        self._text = ""
        self._reported = 0  # characters in `said` so far
        self._start = self._end = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def write(self, text: str) -> None:
        """Send text; ignored where the turn is over.

        Raises BufferError as `WritableTurn.write` does.
        """
        self._text += text
        self._turn.write(text)
        self._start_timer()

    def end(self) -> None:
        """End the text."""
        self._stop_timer()
        self.ended.set()
        self._turn.end()

    def cancel(self) -> None:
        """Stop at once."""
        self._stop_timer()
        self._cancelled.set()
        self.ended.set()
        self._turn.cancel()

    async def events(self) -> AsyncIterator[Event]:
        """The turn's events.

        Where the server is full, those of a later attempt.
        Raises `TTSError`.
        """
        while True:
            try:
                async for event in self._turn.events():
                    yield event
                return
            except TTSError as error:
                if not await self._waits(error):
                    raise
            if self._cancelled.is_set():
                return
            self._repeat()

    def came(self, frame: AudioFrame) -> None:
        """Note a frame's time of playback."""
        self._start = self._start or self._clock.start()
        self._end = self._clock.add(frame.duration.ToNanoseconds() / 1e9)

    def said(self, segment: SegmentDone) -> tuple[str, float]:
        """The text of a segment that has come whole.

        With the second of playback, counted from the first audio, at which it ends.
        """
        text = self._text[self._reported : segment.text_end]
        self._reported = max(self._reported, segment.text_end)
        return text.strip(), self._end - self._start

    async def _waits(self, error: TTSError) -> bool:
        """Pause for the delay of a full server.

        False for any other error, and where time is over.
        """
        pause = error.retry_after
        full = error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and pause is not None
        if not full or self._turn.started.request_id or time.monotonic() + (pause or 0) > self._until:
            return False
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._cancelled.wait(), pause)
        return True

    def _flush(self) -> None:
        """Flush a sentence whose successor is held up.

        By a tool, or a slow model.
        """
        self._turn.flush()

    def _start_timer(self) -> None:
        self._stop_timer()
        if SENTENCE_END.search(self._text):
            self._timer = asyncio.get_running_loop().call_later(PAUSE, self._flush)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _repeat(self) -> None:
        self._turn = self._open_turn()
        self._turn.write(self._text)
        if self.ended.is_set():
            self._turn.end()
        else:
            self._start_timer()
