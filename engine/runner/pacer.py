"""Launch times of steps, from measured durations."""

from collections.abc import Hashable

LEAST, MOST = 0.001, 0.02  # bounds of the margin, in seconds
RISE = 1.1  # most growth a step of an expected duration: one slow step must not hold up those after it


class StepPacer:
    """Pacer of step launches, by kind of step.

    A step is launched a margin before the end of the one before it: late enough for newcomers to be in it, early enough
    for the device not to wait.
    The margin doubles when the device has run dry, and decays by 2 % a step while it does not.
    """

    def __init__(self) -> None:
        self._margin = MOST
        self._expected: dict[Hashable, float] = {}

    def record_launch(self, underran: bool) -> None:
        """Record a launch.

        `underran`: the step before had ended by then.
        """
        self._margin = min(MOST, 2 * self._margin) if underran else max(LEAST, 0.98 * self._margin)

    def observe(self, kind: Hashable, seconds: float) -> None:
        """Record the duration of a step of this kind."""
        self._expected[kind] = min(seconds, RISE * self._expected.get(kind, seconds))

    def next_by(self, kind: Hashable, began: float) -> float:
        """When to launch the step after one of this kind.

        That one began at `began`; at once while its kind is unmeasured.
        """
        expected = self._expected.get(kind)
        return began if expected is None else began + expected - self._margin
