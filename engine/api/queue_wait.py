"""How soon a place comes free, from how long places were held lately."""

from collections import deque
from statistics import median

LATELY = 32  # departures
FEWEST = 3  # of them, before they say anything: the first is the warm-up's


class QueueWaitEstimator:
    """`places` are held for some seconds each; the median of the latest departures stands for all."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._held: deque[float] = deque(maxlen=LATELY)

    def record(self, held: float) -> None:
        """A place that was held for so many seconds is free again."""
        self._held.append(held)

    def estimate(self, ahead: int) -> float | None:
        """Seconds until one has a place who finds them all taken and `ahead` others before it in the queue.

        So many departures have to come, at the rate that Little's law gives. None while too little is known.
        """
        return (ahead + 1) * median(self._held) / self._places if len(self._held) >= FEWEST else None
