"""Prometheus metrics of the engines, summed over several."""

from collections.abc import Callable, Iterable
from dataclasses import fields
from itertools import product

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from engine.api import metrics
from engine.api.metrics import EngineState
from engine.api.observer import Kind, Metric

DECLARED = [metric for metric in vars(metrics).values() if isinstance(metric, Metric)]
Family = Counter | Gauge | Histogram


class EngineMetrics:
    """Metric families of all engines; `observer` makes one engine's `Observer`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._families = {metric: _family(metric, registry) for metric in DECLARED}
        self._gauges = {each.name: _family(each.metadata["metric"], registry) for each in fields(EngineState)}
        self._records: dict[tuple[Metric, tuple[str, ...]], Callable[[float], None]] = {}
        for metric in DECLARED:
            if "model" not in metric.labels:
                self._start_at_zero(metric)

    def observer(self) -> "EngineObserver":
        """A new observer for one engine."""
        return EngineObserver(self)

    def record(self, metric: Metric, value: float, labels: tuple[str, ...]) -> None:
        """Record a value; `labels` are complete."""
        record = self._records.get((metric, labels)) or self._begin(metric, labels)
        record(value)

    def set_states(self, states: Iterable[EngineState]) -> None:
        """Set the gauges to the sums over all engines.

        The last step is the earliest of those with runnable speeches, else the latest.
        """
        present = tuple(states)
        values = {name: sum(getattr(state, name) for state in present) for name in self._gauges}
        behind = [state.last_step for state in present if state.runnable]
        values["last_step"] = min(behind) if behind else max((state.last_step for state in present), default=0.0)
        for name, gauge in self._gauges.items():
            assert isinstance(gauge, Gauge)
            gauge.set(values[name])

    def start_at_zero(self, model: str) -> None:
        """Create the series of an unused model."""
        for metric in DECLARED:
            if "model" in metric.labels:
                self._start_at_zero(metric, model)

    def _start_at_zero(self, metric: Metric, *model: str) -> None:
        for labels in product(*(values for name, values in metric.labels.items() if name != "model")):
            self._begin(metric, (*labels, *model))

    def _begin(self, metric: Metric, labels: tuple[str, ...]) -> Callable[[float], None]:
        family = self._families[metric]
        child: Family = family.labels(*labels) if labels else family
        record = child.inc if isinstance(child, Counter) else child.set if isinstance(child, Gauge) else child.observe
        return self._records.setdefault((metric, labels), record)


class EngineObserver:
    """The `Observer` of one engine.

    Without a `model`, before it serves, nothing is recorded.
    """

    def __init__(self, metrics: EngineMetrics) -> None:
        self.model = ""
        self._metrics = metrics

    def record(self, metric: Metric, value: float = 1.0, *labels: str) -> None:
        if self.model:
            self._metrics.record(metric, value, (*labels, self.model) if "model" in metric.labels else labels)


def _family(metric: Metric, registry: CollectorRegistry) -> Family:
    labels = tuple(metric.labels)
    match metric.kind:
        case Kind.COUNTER:
            return Counter(metric.name, metric.help, labels, registry=registry)
        case Kind.GAUGE:
            return Gauge(metric.name, metric.help, labels, registry=registry)
        case Kind.HISTOGRAM:
            return Histogram(metric.name, metric.help, labels, buckets=metric.buckets, registry=registry)
