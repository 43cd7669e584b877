"""The load of one server, from its metrics."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True, slots=True)
class Load:
    """What a server does at one moment.

    `waited`, `started`: seconds and number of all waits for a slot so far. `tenants`: open turns of each.
    """

    slots: int = 0
    running: int = 0
    queued: int = 0
    places: int = 0
    waited: float = 0.0
    started: float = 0.0
    tenants: Mapping[str, int] = field(default_factory=dict)

    @property
    def free(self) -> int:
        """Turns that may begin at once."""
        return max(0, self.slots - self.running - self.queued)

    @property
    def room(self) -> int:
        """Turns that are taken, at once or after a wait."""
        return max(0, self.slots + self.places - self.running - self.queued)


def parse(text: str) -> Load:
    """The load that a page of metrics states; raises ValueError."""
    values: defaultdict[str, float] = defaultdict(float)
    tenants: Counter[str] = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            values[sample.name] += sample.value
            if sample.name == "tts_tenant_turns_open" and sample.value:
                tenants[sample.labels["tenant"]] += int(sample.value)
    return Load(
        slots=int(values["tts_engine_slots"]),
        running=int(values["tts_engine_sequences_running"]),
        queued=int(values["tts_queue_depth_requests"]),
        places=int(values["tts_queue_capacity_requests"]),
        waited=values["tts_queue_wait_seconds_sum"],
        started=values["tts_queue_wait_seconds_count"],
        tenants=dict(tenants),
    )
