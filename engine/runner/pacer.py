"""When the next step is due: late enough for newcomers to be in it, early enough for the device not to wait."""

from collections.abc import Hashable

LEAST, MOST = 0.001, 0.02  # seconds of a margin
RISE = 1.1  # what is expected falls at once and rises by no more: one slow step must not hold up those after it


class StepPacer:
    """Learns how long steps take by their kind, and how long before the end of one the next has to be on its way.

    The margin grows at once when the device has run dry, and shrinks little by little while it does not.
    """

    def __init__(self) -> None:
        self._margin = MOST
        self._expected: dict[Hashable, float] = {}

    def record_launch(self, underran: bool) -> None:
        """A step was handed over; `dry`: the one before it had ended by then."""
        self._margin = min(MOST, 2 * self._margin) if underran else max(LEAST, 0.98 * self._margin)

    def observe(self, kind: Hashable, seconds: float) -> None:
        """A step of this kind took so long on the device."""
        self._expected[kind] = min(seconds, RISE * self._expected.get(kind, seconds))

    def next_by(self, kind: Hashable, began: float) -> float:
        """When the step after one of this kind is due that began then; at once where that is not known yet."""
        expected = self._expected.get(kind)
        return began if expected is None else began + expected - self._margin
