"""Metrics by tenant, for as many tenants as a page can bear."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge

from qwentts_grpc.wire.caller import Caller, shown

MOST_TENANTS = 64  # with series of their own; those who come later share one
OTHERS = "(others)"


class TenantMetrics:
    """Callers without a tenant are not counted here."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("tenant",)
        self._turns = Gauge("tts_tenant_turns_open", "Turns that a tenant holds now.", labels, registry=registry)
        self._limited = Counter(
            "tts_tenant_limited", "Calls refused because their tenant held its share.", labels, registry=registry
        )
        self._audio = Counter("tts_tenant_audio_seconds", "Audio sent to a tenant.", labels, registry=registry)
        self._labels: dict[str, str] = {}

    def start_at_zero(self, tenants: Iterable[str]) -> None:
        """Series of the tenants that are known beforehand."""
        for tenant in sorted(tenants):
            for metric in (self._turns, self._limited, self._audio):
                metric.labels(self._label(tenant))

    def turns(self, caller: Caller, more: int) -> None:
        """Record that the caller's tenant holds `more` turns, or fewer."""
        if caller.tenant:
            self._turns.labels(self._label(caller.tenant)).inc(more)

    def limited(self, caller: Caller) -> None:
        """Record that a call was refused for the tenant's share."""
        if caller.tenant:
            self._limited.labels(self._label(caller.tenant)).inc()

    def sent(self, caller: Caller, seconds: float) -> None:
        """Record audio that was sent."""
        if caller.tenant:
            self._audio.labels(self._label(caller.tenant)).inc(seconds)

    def _label(self, tenant: str) -> str:
        if tenant not in self._labels and len(self._labels) >= MOST_TENANTS:
            return OTHERS
        return self._labels.setdefault(tenant, shown(tenant))
