"""The caller as a listener: measures how late each chunk is when it is taken, and why."""

import time

from engine.api.lateness import LatenessTotals, split
from engine.api.metrics import CHUNK_INTERVAL, LATENESS, UNDERRUN_SECONDS, UNDERRUNS
from engine.api.observer import Observer
from engine.scheduler.playback import Playback


class Receiver:
    """Playback at the caller of one speech, beside the scheduler's, which begins when audio is ready."""

    def __init__(self, observer: Observer) -> None:
        self.playback = Playback()
        self.lateness = LatenessTotals()
        self._observer = observer

    def take(self, frames: int, ready: float, asked: float, text_came: float | None) -> None:
        """Take a chunk of `frames` that has been `ready` since then; the caller `asked` for it then.

        `text_came` as in `lateness.split`.
        """
        now, record = time.monotonic(), self._observer.record
        late, gap = self.playback.deliver(frames, now)
        shares = split(late, now, max(0.0, asked - ready), text_came)
        for cause, seconds in shares.items():
            record(LATENESS, seconds, cause)
            if seconds:
                record(UNDERRUN_SECONDS, seconds, cause)
        if late:
            record(UNDERRUNS, 1, self.lateness.add(shares))
        if gap is not None:
            record(CHUNK_INTERVAL, gap)
