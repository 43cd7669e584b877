"""What the engine tells whoever measures it; the service turns these calls into Prometheus metrics."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StageTiming:
    """One stage of one step: rows in its batch and seconds it took (prefill: rows are prompt columns).

    `stage`: prefill, talker, predictor, codec, or frame where talker and predictor run as one. `graph`: whether a
    captured graph was replayed; None on devices that have none.
    """

    stage: str
    batch: int
    seconds: float
    graph: bool | None = None


@dataclass(frozen=True, slots=True)
class EngineState:
    """Gauges, as `Engine.state` reads them when somebody asks."""

    queued: int
    running: int
    parked: int
    paced: int
    blocks_used: int
    blocks_capacity: int


class Observer(Protocol):
    """Called on the event loop's thread, once per happening; must not block."""

    def step(self, timings: tuple[StageTiming, ...]) -> None:
        """One engine step has been committed."""

    def admitted(self, queue_wait: float) -> None:
        """A speech has got its slot after `queue_wait` seconds."""

    def chunk(self, latency: float, lateness: float, interval: float | None, first: bool) -> None:
        """A chunk was handed to its speech: seconds since sampling, behind ideal playout, since the last chunk."""

    def preempted(self, reason: str) -> None:
        """A running speech lost its blocks (`kv`) and will be recomputed."""

    def starved(self, seconds: float) -> None:
        """A speech had waited `seconds` for text."""

    def released(self, seconds: float) -> None:
        """A cancelled speech's slot and blocks came back `seconds` after the cancel."""

    def frames(self, used: int, discarded: int) -> None:
        """Codec frames made: delivered, or thrown away after a cancel."""


class NullObserver:
    """Measures nothing."""

    def step(self, timings: tuple[StageTiming, ...]) -> None: ...
    def admitted(self, queue_wait: float) -> None: ...
    def chunk(self, latency: float, lateness: float, interval: float | None, first: bool) -> None: ...
    def preempted(self, reason: str) -> None: ...
    def starved(self, seconds: float) -> None: ...
    def released(self, seconds: float) -> None: ...
    def frames(self, used: int, discarded: int) -> None: ...
