"""Tenants: each one's share of the server."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from qwentts_grpc.telemetry.tenant_metrics import TenantMetrics
from qwentts_grpc.wire.caller import Caller
from qwentts_grpc.wire.errors import TenantLimit

RATIO = 4  # of a tenant's share to what is free: one alone can have four fifths


@dataclass(frozen=True, slots=True)
class Access:
    """Access settings: authentication of callers, limits by tenant.

    `tenant_key`: the metadata key that names the tenant where neither tokens nor certificates do; with
    `trust_tenant_key` also where a token has no tenant, and in place of a certificate's name. `tenant_limit`: open
    turns of one tenant, callers without a tenant being one together; 0 for a share. `tenant_voices`: created voices of
    one tenant.
    """

    token_file: Path | None = None
    tenant_key: str = ""
    trust_tenant_key: bool = False
    tenant_limit: int = 0
    tenant_voices: int = 100


class Shares:
    """Units of a bounded resource, shared among tenants.

    Belongs to the event loop's thread. A tenant may take more while it holds less than `RATIO` times what is free, so
    that something is left for the next (dynamic thresholds: Choudhury, Hahne 1998). A `reserve` of the `known` tenants
    who hold nothing, up to a `RATIO`th of all, is free for them alone: that many units for each. Callers without a
    tenant have no share. A `limit` other than 0 takes the share's place, for callers without a tenant too.
    """

    def __init__(
        self, total: int, what: str, known: Callable[[], Set[str]] = frozenset, limit: int = 0, reserve: int = 1
    ) -> None:
        self.free = total
        self.held: Counter[str] = Counter()
        self._what, self._known, self._limit = what, known, limit
        self._reserve, self._most_reserved = reserve, total // RATIO

    def take(self, caller: Caller, units: int = 1) -> None:
        """Take `units`; raises `TenantLimit`.

        The total is not checked here: the free part may fall below 0.
        """
        held = self.held[caller.tenant]
        if held >= self._limit if self._limit else caller.tenant and held >= RATIO * self._free_for(caller.tenant):
            raise TenantLimit(held, self._what)
        self.free -= units
        self.held[caller.tenant] += units

    def _free_for(self, tenant: str) -> int:
        if not self.held[tenant]:
            return self.free
        waiting = len(self._known() - self.held.keys())
        return self.free - min(waiting * self._reserve, self._most_reserved)

    def give(self, caller: Caller, units: int = 1) -> None:
        """Return `units`."""
        self.free += units
        self.held[caller.tenant] -= units
        if not self.held[caller.tenant]:
            del self.held[caller.tenant]  # names come from outside: only those in use are stored


class Tenants:
    """What each tenant holds.

    Turns, of `capacity` for each of `models` checkpoints, plus `calls` of any kind. `known` returns the tenants known
    by name.
    """

    def __init__(
        self,
        access: Access,
        capacity: int,
        models: int,
        calls: int,
        known: Callable[[], Set[str]],
        metrics: TenantMetrics,
    ) -> None:
        self.known = known
        self.turns = Shares(capacity * models, "turns", known, access.tenant_limit)
        self._speeches: defaultdict[str, Shares] = defaultdict(
            lambda: Shares(capacity, "turns of this model", known, access.tenant_limit)
        )
        self.calls = Shares(calls, "calls", known)
        self._metrics = metrics
        metrics.start_at_zero(known())

    @contextmanager
    def turn(self, caller: Caller) -> Iterator[None]:
        """Hold one turn during the body; raises `TenantLimit`."""
        with self._held(self.turns, caller):
            self._metrics.turns(caller, 1)
            try:
                yield
            finally:
                self._metrics.turns(caller, -1)

    @contextmanager
    def speech(self, caller: Caller, model: str) -> Iterator[None]:
        """Hold one turn of `model` during the body; raises `TenantLimit`."""
        with self._held(self._speeches[model], caller):
            yield

    @contextmanager
    def call(self, caller: Caller) -> Iterator[None]:
        """Hold one call during the body; raises `TenantLimit`."""
        with self._held(self.calls, caller):
            yield

    @contextmanager
    def _held(self, shares: Shares, caller: Caller) -> Iterator[None]:
        try:
            shares.take(caller)
        except TenantLimit:
            self._metrics.limited(caller)
            raise
        try:
            yield
        finally:
            shares.give(caller)
