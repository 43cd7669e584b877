"""Prometheus metrics of the engines: what each tells its observer, summed where they are several."""

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from engine.loop import Engine
from engine.observer import EngineState, StageTiming

STAGES = ("prefill", "talker", "predictor", "frame", "codec")  # frame: talker and predictor as one graph
PREEMPTIONS = ("kv", "priority")
_WAIT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_INTERVAL = (0.005, 0.01, 0.02, 0.04, 0.08, 0.12, 0.16, 0.24, 0.32, 0.5, 1, 2.5)
_LATENESS = (0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5)
_BATCH = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128)
_STEP = (0.001, 0.002, 0.003, 0.004, 0.006, 0.008, 0.012, 0.016, 0.024, 0.04, 0.08, 0.16)
_RELEASE = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1)


class EngineMetrics:
    """What is measured of all engines together; `observer` gives each its own `Observer`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._queued = Gauge("tts_queue_depth_requests", "Speeches that wait for a slot.", registry=registry)
        self._queue_wait = Histogram("tts_queue_wait_seconds", "Wait for a slot.", buckets=_WAIT, registry=registry)
        self._interval = Histogram(
            "tts_audio_chunk_interval_seconds", "Between two chunks of one turn.", buckets=_INTERVAL, registry=registry
        )
        self._lateness = Histogram(
            "tts_audio_chunk_lateness_seconds", "Behind ideal playback.", buckets=_LATENESS, registry=registry
        )
        self._underruns = Counter("tts_underruns", "Times that ideal playback ran dry.", registry=registry)
        self._underrun_seconds = Counter(
            "tts_underrun_seconds", "Time for which ideal playback was dry.", registry=registry
        )
        self._batch = Histogram(
            "tts_engine_step_batch_size", "Rows of a stage in a step.", ("stage",), buckets=_BATCH, registry=registry
        )
        self._duration = Histogram(
            "tts_engine_step_duration_seconds", "Time of a stage.", ("stage",), buckets=_STEP, registry=registry
        )
        self._running = Gauge("tts_engine_sequences_running", "Speeches that hold a slot.", registry=registry)
        self._parked = Gauge("tts_engine_sequences_parked", "Speeches that wait for text.", registry=registry)
        self._paced = Gauge("tts_engine_sequences_paced", "Speeches far enough ahead.", registry=registry)
        self._starved = Counter("tts_text_starved_seconds", "Time spent waiting for text.", registry=registry)
        self._blocks = Gauge("tts_kv_blocks_used", "Cache blocks in use.", registry=registry)
        self._capacity = Gauge("tts_kv_blocks_capacity", "Cache blocks there are.", registry=registry)
        self._preemptions = Counter(
            "tts_preemptions", "Speeches set back, to be recomputed.", ("reason",), registry=registry
        )
        self._release = Histogram(
            "tts_slot_release_seconds", "From a cancel to its blocks freed.", buckets=_RELEASE, registry=registry
        )
        self._frames = Counter("tts_codec_frames", "Codec frames made.", ("used", "model"), registry=registry)
        self._replays = Counter("tts_graph_replays", "Captured graphs replayed.", ("stage",), registry=registry)
        self._fallbacks = Counter(
            "tts_graph_fallbacks", "Steps that ran without a graph.", ("stage", "reason"), registry=registry
        )
        self._last_step = Gauge(
            "tts_engine_last_step_timestamp_seconds", "When the last step ended.", registry=registry
        )
        self._observers: list[EngineObserver] = []
        self._start_at_zero()

    def _start_at_zero(self) -> None:
        for stage in STAGES:
            self._batch.labels(stage)
            self._duration.labels(stage)
            self._replays.labels(stage)
        for reason in PREEMPTIONS:
            self._preemptions.labels(reason)

    def observer(self) -> "EngineObserver":
        """The observer of one more engine."""
        self._observers.append(EngineObserver(self))
        return self._observers[-1]

    def step(self, timings: tuple[StageTiming, ...]) -> None:
        """An engine made one step, of these stages."""
        for timing in timings:
            self._batch.labels(timing.stage).observe(timing.batch)
            self._duration.labels(timing.stage).observe(timing.seconds)
            if timing.graph:
                self._replays.labels(timing.stage).inc()
            elif timing.graph is False:
                self._fallbacks.labels(timing.stage, "disabled").inc()
        self._last_step.set(time.time())

    def stand(self) -> None:
        """Set the gauges to the sums over all engines."""
        states = [observer.state for observer in self._observers]
        self._queued.set(sum(state.queued for state in states))
        self._running.set(sum(state.running for state in states))
        self._parked.set(sum(state.parked for state in states))
        self._paced.set(sum(state.paced for state in states))
        self._blocks.set(sum(state.blocks_used for state in states))
        self._capacity.set(sum(state.blocks_capacity for state in states))

    def start_at_zero(self, model: str) -> None:
        """Counters of a model that has made nothing yet."""
        for used in ("true", "discarded"):
            self._frames.labels(used, model)

    def admitted(self, queue_wait: float) -> None:
        """A speech has its slot."""
        self._queue_wait.observe(queue_wait)

    def chunk(self, latency: float, lateness: float, interval: float | None, first: bool) -> None:
        """A chunk was handed to its speech; its latency is measured at the wire instead."""
        self._lateness.observe(max(0.0, lateness))
        if lateness > 0:
            self._underruns.inc()
            self._underrun_seconds.inc(lateness)
        if interval is not None:
            self._interval.observe(interval)

    def preempted(self, reason: str) -> None:
        """A speech lost its blocks."""
        self._preemptions.labels(reason).inc()

    def starved(self, seconds: float) -> None:
        """A speech had waited for text."""
        self._starved.inc(seconds)

    def released(self, seconds: float) -> None:
        """A cancelled speech gave its slot back."""
        self._release.observe(seconds)

    def frames(self, model: str, used: int, discarded: int) -> None:
        """Codec frames were made."""
        self._frames.labels("true", model).inc(used)
        self._frames.labels("discarded", model).inc(discarded)


class EngineObserver:
    """The `Observer` of one engine: its gauges add to those of the others. `model` is known once it is loaded."""

    def __init__(self, metrics: EngineMetrics) -> None:
        self.state = EngineState(0, 0, 0, 0, 0, 0)
        self.model = ""
        self._metrics = metrics
        self.step = metrics.step
        self.admitted = metrics.admitted
        self.chunk = metrics.chunk
        self.preempted = metrics.preempted
        self.starved = metrics.starved
        self.released = metrics.released

    def serves(self, engine: Engine) -> None:
        """The engine is loaded."""
        self.model = engine.card.name
        self.stand(engine.state())

    def stand(self, state: EngineState) -> None:
        """Where the engine stands now."""
        self.state = state
        self._metrics.stand()

    def frames(self, used: int, discarded: int) -> None:
        """Codec frames were made."""
        self._metrics.frames(self.model, used, discarded)
