"""Interface for engine metrics."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol


class Kind(Enum):
    """Effect of a recorded value on its metric."""

    COUNTER = "counter"  # adds to it
    GAUGE = "gauge"  # replaces it
    HISTOGRAM = "histogram"  # joins the distribution


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """A metric under its Prometheus name.

    `engine.api.metrics` declares each once.
    `labels`: names with the values they take, which start at zero; the value of `model` is the observer's to add.
    `buckets` of a histogram: upper bounds in the unit of the name.
    """

    kind: Kind
    name: str
    help: str
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    buckets: tuple[float, ...] = ()


class Observer(Protocol):
    """Destination of engine metrics.

    Called on the event loop's thread; must not block.
    """

    def record(self, metric: Metric, value: float = 1.0, *labels: str) -> None:
        """Record `value` under `labels`.

        `labels` are in the order of the declaration, without `model`.
        """


class NullObserver:
    """Observer that discards all values."""

    def record(self, metric: Metric, value: float = 1.0, *labels: str) -> None: ...


@dataclass(frozen=True, slots=True)
class StageTiming:
    """Duration of one stage of one step.

    `stage`: one of `engine.api.metrics.STAGES`. `batch`: rows (of prefill: prompt tokens). `graph`: whether a captured
    graph was replayed; None on devices that have none.
    """

    stage: str
    batch: int
    seconds: float
    graph: bool | None = None
