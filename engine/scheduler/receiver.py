"""Measurement of lateness at the caller."""

from engine.api.lateness import LatenessTotals, split
from engine.api.metrics import CHUNK_INTERVAL, LATENESS, UNDERRUN_SECONDS, UNDERRUNS
from engine.api.observer import Observer
from engine.scheduler.playback import Playback


class Receiver:
    """Playback at the caller of one speech.

    The scheduler's own begins when audio is ready, this one when it is taken.
    """

    def __init__(self, observer: Observer, frame_seconds: float) -> None:
        self.playback = Playback(frame_seconds)
        self.lateness = LatenessTotals()
        self._observer = observer

    def take(self, frames: int, ready: float, asked: float, taken: float, text_came: float | None) -> None:
        """Record a chunk of `frames` as taken at `taken`.

        It has been `ready` since then; `asked`: when the caller came for it. `text_came` as in `lateness.split`.
        """
        record = self._observer.record
        late, gap = self.playback.deliver(frames, taken)
        shares = split(late, taken, max(0.0, asked - ready), text_came)
        for cause, seconds in shares.items():
            record(LATENESS, seconds, cause)
            if seconds:
                record(UNDERRUN_SECONDS, seconds, cause)
        if late:
            record(UNDERRUNS, 1, self.lateness.add(shares))
        if gap is not None:
            record(CHUNK_INTERVAL, gap)
