"""Number of servers that the load needs.

Up at once, down after a while: a server takes seconds to start, and its loss is felt by callers.
"""

import math
from collections.abc import Mapping

from qwentts_fleet.load import Load
from qwentts_fleet.settings import Settings


class Scaler:
    """Scaler by slots, turns, waits for slots."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._before: Mapping[str, Load] = {}
        self._low_since: float | None = None

    def decide(self, loads: Mapping[str, Load], target: int, now: float) -> int:
        """New target, from the loads of serving servers.

        The loads are by name.
        """
        asked = max(self._by_turns(loads), self._by_wait(loads))
        self._before = dict(loads)
        asked = min(max(asked, self._settings.least), self._settings.most)
        if asked >= target or not loads:
            self._low_since = None
            return max(asked, target)
        self._low_since = now if self._low_since is None else self._low_since
        return target if now - self._low_since < self._settings.down_after else asked

    def _by_turns(self, loads: Mapping[str, Load]) -> int:
        slots = max((load.slots for load in loads.values()), default=0)
        turns = sum(load.running + load.queued for load in loads.values())
        return math.ceil(turns / (self._settings.busy * slots)) if slots else 0

    def _by_wait(self, loads: Mapping[str, Load]) -> int:
        """One more server, where new turns waited too long."""
        pairs = [(load, self._before.get(name, load)) for name, load in loads.items()]
        started = sum(max(0.0, now.started - before.started) for now, before in pairs)
        waited = sum(max(0.0, now.waited - before.waited) for now, before in pairs)
        return len(loads) + 1 if started and waited / started > self._settings.wait else 0
