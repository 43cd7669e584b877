"""Rate limit of log lines by kind, with counts."""

import logging
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from qwentts_grpc.wire import caller, peers

LINES, PERIOD = 20, 10.0  # lines of one kind in a period (seconds)
MOST_HOSTS = 64  # distinct hosts counted in one flood

log = logging.getLogger(__name__)


def kind(name: str) -> dict[str, str]:
    """`extra` of a log call that callers can cause.

    `name` is one of a few constants, never text of a caller.
    """
    return {"flood": name}


@dataclass(slots=True)
class _Flood:
    began: float = field(default_factory=time.monotonic)
    lines: int = 0
    dropped: int = 0
    hosts: Counter[str] = field(default_factory=Counter)


class FloodFilter(logging.Filter):
    """Passes `lines` of each kind in `period` seconds.

    A final line sums up the rest. For any thread.
    """

    def __init__(self, lines: int = LINES, period: float = PERIOD) -> None:
        super().__init__()
        self._lines, self._period = lines, period
        self._floods: dict[str, _Flood] = {}
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        name = "gRPC" if record.name.partition(".")[0] == "grpc" else getattr(record, "flood", None)
        if name is None:
            return True
        with self._lock:
            return self._passes(name)

    def _passes(self, name: str) -> bool:
        flood = self._floods.get(name)
        if flood is None or (time.monotonic() > flood.began + self._period and not flood.dropped):
            flood = self._floods[name] = _Flood()
        flood.lines += 1
        if flood.lines <= self._lines:
            return True
        flood.dropped += 1
        host = peers.host(caller.current.get().peer)
        if host in flood.hosts or len(flood.hosts) < MOST_HOSTS:
            flood.hosts[host] += 1
        if self._timer is None:
            self._timer = threading.Timer(self._period, self.sum_up)
            self._timer.daemon = True
            self._timer.start()
        return False

    def sum_up(self) -> None:
        """Write the number of dropped lines, then reset."""
        with self._lock:
            floods, self._floods, self._timer = self._floods, {}, None
        for name, flood in floods.items():
            if flood.dropped:
                host, count = max(flood.hosts.items(), key=lambda item: item[1], default=("", 0))
                log.warning("%d more lines of %s, %d of them from %s", flood.dropped, name, count, host or "no host")
