"""Model of the listener's playback.

It plays from the first chunk on, has no buffer of its own, and waits when a chunk is late.
"""

from dataclasses import dataclass


@dataclass(slots=True)
class Playback:
    """Playback of one speech.

    Times are `time.monotonic()` seconds; `frames` have been delivered so far. Belongs to the event loop's thread.
    """

    frame_seconds: float
    frames: int = 0
    underruns: int = 0
    longest_gap: float = 0.0
    _began: float | None = None
    _last: float | None = None

    def slack(self, now: float) -> float | None:
        """Seconds until the listener runs dry.

        Negative when it already has; None before the first chunk.
        """
        return None if self._began is None else self._began + self.frames * self.frame_seconds - now

    def waited(self, now: float) -> float:
        """Seconds since the last chunk; 0 before the first."""
        return 0.0 if self._last is None else now - self._last

    def played(self, now: float) -> float:
        """Frames that ideal playback has used up."""
        return 0.0 if self._began is None else min(self.frames, (now - self._began) / self.frame_seconds)

    def deliver(self, frames: int, now: float) -> tuple[float, float | None]:
        """Deliver a chunk; return lateness, seconds since the last chunk.

        A late chunk moves later deadlines.
        """
        gap = None if self._last is None else now - self._last
        late = max(0.0, -(self.slack(now) or 0.0))
        if self._began is None:
            self._began = now
        elif late:
            self.underruns += 1
            self._began += late
        self.longest_gap = max(self.longest_gap, gap or 0.0)
        self.frames, self._last = self.frames + frames, now
        return late, gap
