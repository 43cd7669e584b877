"""Rate limit on new calls by tenant, as token buckets."""

import time
from collections import OrderedDict

from qwentts_grpc.admission.counts import LOCAL, Counts
from qwentts_grpc.wire import peers
from qwentts_grpc.wire.caller import Caller
from qwentts_grpc.wire.errors import CallRateLimit

BURST = 2.0  # seconds' worth of calls that may begin at once
MOST = 1_024  # tenants tracked; the least recently active is dropped, as if it had been idle
RESOURCE = "new calls"
SECOND = 1_000_000_000  # ns


class CallRate:
    """Call rate by tenant, else host; `per_second` 0 disables it.

    A bucket is the moment at which it will be full again (the theoretical arrival time of the generic cell rate
    algorithm, ITU-T I.371), in ns of the host's monotonic clock. Each process publishes its own by `counts`; the latest
    of all is the bucket, for who took last had seen the others'. Where two take within the same microseconds both may
    pass, and both are counted.
    """

    def __init__(self, per_second: float, counts: Counts = LOCAL) -> None:
        self._rate = per_second
        self._interval = round(SECOND / per_second) if per_second else 0
        self._tolerance = max(0, round(BURST * SECOND) - self._interval)
        self._counts = counts
        self._buckets: OrderedDict[str, int] = OrderedDict()

    def take(self, caller: Caller) -> None:
        """Count a new call; raises `CallRateLimit`."""
        if not self._rate:
            return
        key, now = caller.tenant or peers.host(caller.peer), time.monotonic_ns()
        full = max(now, self._buckets.get(key, 0), self._counts.latest(RESOURCE, key))
        wait = full - now - self._tolerance
        if wait > 0:
            self._set(key, full)
            raise CallRateLimit(wait / SECOND)
        self._set(key, full + self._interval)
        if (meanwhile := self._counts.latest(RESOURCE, key)) > full:
            self._set(key, meanwhile + self._interval)

    def _set(self, key: str, full: int) -> None:
        self._buckets[key] = full
        self._buckets.move_to_end(key)
        self._counts.publish(RESOURCE, key, full)
        if len(self._buckets) > MOST:
            self._counts.publish(RESOURCE, self._buckets.popitem(last=False)[0], 0)
