"""Estimate of the queue wait from recent hold times."""

from collections import deque
from statistics import median

LATELY = 32  # departures
FEWEST = 3  # departures that an estimate needs: the first is the warm-up's


class QueueWaitEstimator:
    """Wait for one of `places`, by Little's law.

    The median hold time of the latest departures stands for all.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._held: deque[float] = deque(maxlen=LATELY)

    def record(self, held: float) -> None:
        """Record a departure: `held` seconds in a place."""
        self._held.append(held)

    def estimate(self, ahead: int) -> float | None:
        """Seconds until a newcomer gets a place, or None.

        All places are taken, `ahead` others wait before it. `ahead + 1` departures have to come, at the rate that
        Little's law gives. None with fewer than `FEWEST` departures.
        """
        return (ahead + 1) * median(self._held) / self._places if len(self._held) >= FEWEST else None
