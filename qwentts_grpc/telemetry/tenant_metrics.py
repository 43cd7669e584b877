"""Metrics by tenant, for a bounded number of tenants."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge

from qwentts_grpc.wire.caller import Caller, shown

MOST_TENANTS = 64  # with series of their own; later ones share one
OTHERS = "(others)"


class TenantMetrics:
    """Callers without a tenant are not counted here."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("tenant",)
        self._turns = Gauge("tts_tenant_turns_open", "Open turns of a tenant.", labels, registry=registry)
        self._limited = Counter(
            "tts_tenant_limited", "Calls refused because their tenant held its share.", labels, registry=registry
        )
        self._audio = Counter("tts_tenant_audio_seconds", "Audio sent to a tenant.", labels, registry=registry)
        self._labels: dict[str, str] = {}

    def start_at_zero(self, tenants: Iterable[str]) -> None:
        """Create the series of the tenants known in advance."""
        for tenant in sorted(tenants):
            for metric in (self._turns, self._limited, self._audio):
                metric.labels(self._label(tenant))

    def turns(self, caller: Caller, more: int) -> None:
        """Add `more` (signed) to the tenant's open turns."""
        if caller.tenant:
            self._turns.labels(self._label(caller.tenant)).inc(more)

    def limited(self, caller: Caller) -> None:
        """Count a call refused for the tenant's share."""
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
