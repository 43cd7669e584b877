"""Tenants: each one's share of the server."""

from collections import Counter
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from qwentts_grpc.admission.counts import LOCAL, Counts
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
    tenant have no share. A `limit` other than 0 takes the share's place, for callers without a tenant too. What other
    processes hold counts too, by `counts`, under the name `resource` (else `what`); `held` is this process's own.
    """

    def __init__(
        self,
        total: int,
        what: str,
        known: Callable[[], Set[str]] = frozenset,
        limit: int = 0,
        reserve: int = 1,
        counts: Counts = LOCAL,
        resource: str = "",
    ) -> None:
        self.held: Counter[str] = Counter()
        self._left = total  # by this process
        self._what, self._known, self._limit = what, known, limit
        self._reserve, self._most_reserved = reserve, total // RATIO
        self._counts, self._resource = counts, resource or what

    @property
    def free(self) -> int:
        """Units that nobody holds; may be below 0."""
        return self._left - self._counts.others_total(self._resource)

    def take(self, caller: Caller, units: int = 1) -> None:
        """Take `units`; raises `TenantLimit`.

        The total is not checked here: the free part may fall below 0.
        """
        tenant = caller.tenant
        held = self._held_by(tenant)
        if held >= self._limit if self._limit else tenant and self._has_its_share(held):
            raise TenantLimit(held, self._what)
        self._left -= units
        self.held[tenant] += units
        self._counts.add(self._resource, tenant, units)

    def give(self, caller: Caller, units: int = 1) -> None:
        """Return `units`."""
        tenant = caller.tenant
        self._left += units
        self.held[tenant] -= units
        if not self.held[tenant]:
            del self.held[tenant]  # names come from outside: only those in use are stored
        self._counts.add(self._resource, tenant, -units)

    def _held_by(self, tenant: str) -> int:
        return self.held[tenant] + self._counts.others(self._resource, tenant)

    def _has_its_share(self, held: int) -> bool:
        free = self.free
        if held >= RATIO * free:
            return True
        if not held or held < RATIO * (free - self._most_reserved):  # whatever is reserved
            return False
        return held >= RATIO * (free - self._reserved())

    def _reserved(self) -> int:
        """Units for the known tenants who hold nothing."""
        reserved = 0
        for tenant in self._known():
            if tenant not in self.held and not self._counts.others(self._resource, tenant):
                reserved += self._reserve
                if reserved >= self._most_reserved:
                    return self._most_reserved
        return reserved


class Tenants:
    """What each tenant holds.

    Turns, of `capacity` for each of `models` checkpoints, plus `calls` of any kind. `known` returns the tenants known
    by name. `counts` holds what the server's other processes give them.
    """

    def __init__(
        self,
        access: Access,
        capacity: int,
        models: int,
        calls: int,
        known: Callable[[], Set[str]],
        metrics: TenantMetrics,
        counts: Counts = LOCAL,
    ) -> None:
        self.known = known
        self.turns = Shares(capacity * models, "turns", known, access.tenant_limit, counts=counts)
        self.calls = Shares(calls, "calls", known, counts=counts)
        self._speeches: dict[str, Shares] = {}
        self._capacity, self._limit, self._counts = capacity, access.tenant_limit, counts
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
        with self._held(self._speeches_of(model), caller):
            yield

    @contextmanager
    def call(self, caller: Caller) -> Iterator[None]:
        """Hold one call during the body; raises `TenantLimit`."""
        with self._held(self.calls, caller):
            yield

    def _speeches_of(self, model: str) -> Shares:
        if model not in self._speeches:
            self._speeches[model] = Shares(
                self._capacity,
                "turns of this model",
                self.known,
                self._limit,
                counts=self._counts,
                resource=f"turns of {model}",
            )
        return self._speeches[model]

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
