"""Rate limit on new calls by tenant, as token buckets."""

import time
from collections import OrderedDict
from dataclasses import dataclass

from qwentts_grpc.wire import peers
from qwentts_grpc.wire.caller import Caller
from qwentts_grpc.wire.errors import CallRateLimit

BURST = 2.0  # seconds' worth of calls that may begin at once
MOST = 1_024  # tenants tracked; the least recently active is dropped, as if it had been idle


@dataclass(slots=True)
class _Bucket:
    calls: float
    at: float


class CallRate:
    """Call rate by tenant, else host; `per_second` 0 disables it."""

    def __init__(self, per_second: float) -> None:
        self._rate = per_second
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, caller: Caller) -> None:
        """Count a new call; raises `CallRateLimit`."""
        if not self._rate:
            return
        bucket, now = self._bucket(caller.tenant or peers.host(caller.peer)), time.monotonic()
        bucket.calls = min(BURST * self._rate, bucket.calls + (now - bucket.at) * self._rate)
        bucket.at = now
        if bucket.calls < 1:
            raise CallRateLimit((1 - bucket.calls) / self._rate)
        bucket.calls -= 1

    def _bucket(self, key: str) -> _Bucket:
        bucket = self._buckets.setdefault(key, _Bucket(BURST * self._rate, time.monotonic()))
        self._buckets.move_to_end(key)
        if len(self._buckets) > MOST:
            self._buckets.popitem(last=False)
        return bucket
