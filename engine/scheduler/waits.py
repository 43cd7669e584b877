"""Waits of one speech outside the engine: text, playback."""

from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True)
class Waits:
    """Times are `time.monotonic()` seconds.

    `held`: seconds without text or ahead of playback, since admission.
    `text_came`: when text first allowed a frame. `arrivals`: frames of the turn that waited for text, with the moment
    it came, until their audio has been taken.
    """

    starved_since: float | None = None
    paced_since: float | None = None
    held: float = 0.0
    text_came: float | None = None
    for_text: bool = True
    arrivals: deque[tuple[int, float]] = field(default_factory=deque)

    def starve(self, now: float) -> None:
        """Begin to wait for text."""
        self.for_text = True
        self.starved_since = self.starved_since or now

    def record_text(self, frame: int, came: float) -> None:
        """Record the arrival of text for the turn's `frame`."""
        self.for_text = False
        self.text_came = self.text_came or came
        self.arrivals.append((frame, came))

    def resume(self, now: float, admitted: float | None) -> float:
        """End the wait for text; return its seconds."""
        assert self.starved_since is not None
        began, self.starved_since = self.starved_since, None
        ended = now if self.for_text or not self.arrivals else max(began, min(now, self.arrivals[-1][1]))
        if admitted is not None:
            self.held += max(0.0, ended - max(began, admitted))
        return ended - began

    def pace(self, paced: bool, now: float) -> None:
        """Begin or end a pause ahead of playback."""
        if paced:
            self.paced_since = self.paced_since or now
        elif self.paced_since is not None:
            self.held += now - self.paced_since
            self.paced_since = None

    def work(self, admitted: float, now: float) -> float:
        """Seconds since `admitted` in which the speech could go on."""
        waiting = (since for since in (self.starved_since, self.paced_since) if since is not None)
        return now - admitted - self.held - sum(now - max(since, admitted) for since in waiting)

    def text_for(self, frames: int) -> float | None:
        """Arrival of text that a frame before `frames` waited for.

        Called once a chunk, in order.
        """
        came = None
        while self.arrivals and self.arrivals[0][0] < frames:
            came = self.arrivals.popleft()[1]
        return came
