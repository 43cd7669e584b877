"""Prometheus metrics: what the engine tells its observer, and what each call adds to it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, disable_created_metrics

from engine.observer import EngineState, StageTiming

METHODS = ("Synthesize", "SynthesizeText")
OUTCOMES = ("stop", "length", "guard", "cancelled_soft", "cancelled_rpc", "deadline", "rejected", "failed")
REJECTIONS = ("queue_full", "tenant_limit", "draining", "starting", "invalid", "too_large")
CANCELLATIONS = ("message", "rpc", "disconnect", "keepalive", "slow_consumer", "drain")
STAGES = ("prefill", "talker", "predictor", "frame", "codec")  # frame: talker and predictor as one graph
PREEMPTIONS = ("kv", "priority")

_WAIT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_FIRST_AUDIO = (0.01, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5, 5, 10)
_LATENCY = (0.001, 0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64)
_INTERVAL = (0.005, 0.01, 0.02, 0.04, 0.08, 0.12, 0.16, 0.24, 0.32, 0.5, 1, 2.5)
_LATENESS = (0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5)
_BATCH = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128)
_STEP = (0.001, 0.002, 0.003, 0.004, 0.006, 0.008, 0.012, 0.016, 0.024, 0.04, 0.08, 0.16)
_RELEASE = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1)
_BLOCKED = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30)
_REAL_TIME = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.5, 2, 4)

disable_created_metrics()  # type: ignore[no-untyped-call]  # one more sample a child, which nobody reads


@dataclass(frozen=True, slots=True)
class Finish:
    """What a finished turn adds up to: seconds of audio and of work, characters read."""

    audio_seconds: float
    work_seconds: float
    characters: int


class Metrics:
    """All metrics of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.calls = CallMetrics(self.registry)
        self.engine = EngineMetrics(self.registry)
        self.voices = VoiceMetrics(self.registry)
        self._build = Info("tts_build", "What runs here.", registry=self.registry)
        self.ready = Gauge("tts_ready", "1 while speeches are taken.", registry=self.registry)

    def describe(self, build: Mapping[str, str]) -> None:
        """Name the build (version, model, torch, cuda) once the model is known, and start its counters at 0."""
        self._build.info(dict(build))
        self.calls.model = self.engine.model = build["model"]


class CallMetrics:
    """What is measured at the wire; each call ends in exactly one outcome."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter("tts_requests", "Calls by how they ended.", ("method", "outcome"), registry=registry)
        self._rejected = Counter("tts_requests_rejected", "Calls refused, by reason.", ("reason",), registry=registry)
        self._cancelled = Counter("tts_cancellations", "Calls cut short, by whom.", ("origin",), registry=registry)
        self._strangers = Counter("tts_unauthenticated", "Calls turned away for want of a token.", registry=registry)
        self._open = Gauge("tts_streams_open", "Calls now open.", ("method",), registry=registry)
        self._first_audio = Histogram(
            "tts_time_to_first_audio_seconds",
            "From the call's arrival to its first audio at gRPC.",
            ("method",),
            buckets=_FIRST_AUDIO,
            registry=registry,
        )
        self._latency = Histogram(
            "tts_audio_chunk_latency_seconds",
            "From the last codec frame of a chunk to its bytes at gRPC.",
            ("position",),
            buckets=_LATENCY,
            registry=registry,
        )
        self._blocked = Histogram(
            "tts_send_blocked_seconds", "Time that one write took.", buckets=_BLOCKED, registry=registry
        )
        self._audio = Counter("tts_audio_seconds", "Audio sent.", ("model",), registry=registry)
        self._characters = Counter("tts_text_characters", "Text spoken.", ("model",), registry=registry)
        self._real_time = Histogram(
            "tts_real_time_factor", "Time taken over length of the audio.", buckets=_REAL_TIME, registry=registry
        )
        self._model = ""
        self._start_at_zero()

    def _start_at_zero(self) -> None:
        for method in METHODS:
            self._open.labels(method)
            self._first_audio.labels(method)
            for outcome in OUTCOMES:
                self._requests.labels(method, outcome)
        for reason in REJECTIONS:
            self._rejected.labels(reason)
        for origin in CANCELLATIONS:
            self._cancelled.labels(origin)
        for position in ("first", "later"):
            self._latency.labels(position)

    @property
    def model(self) -> str:
        """The label of counters by model."""
        return self._model

    @model.setter
    def model(self, name: str) -> None:
        self._model = name
        self._audio.labels(name)
        self._characters.labels(name)

    def opened(self, method: str) -> None:
        """A call came in."""
        self._open.labels(method).inc()

    def closed(self, method: str, outcome: str) -> None:
        """A call ended, in one of `OUTCOMES`."""
        self._open.labels(method).dec()
        self._requests.labels(method, outcome).inc()

    def rejected(self, reason: str) -> None:
        """A call was refused, for one of `REJECTIONS`."""
        self._rejected.labels(reason).inc()

    def cancelled(self, origin: str) -> None:
        """A call was cut short, by one of `CANCELLATIONS`."""
        self._cancelled.labels(origin).inc()

    def turned_away(self) -> None:
        """A call came without a token that the server knows."""
        self._strangers.inc()

    def first_audio(self, method: str, seconds: float) -> None:
        """The first audio of a call was handed to gRPC `seconds` after its arrival."""
        self._first_audio.labels(method).observe(seconds)

    def chunk(self, latency: float, first: bool) -> None:
        """A chunk was handed to gRPC `latency` seconds after its last frame was sampled."""
        self._latency.labels("first" if first else "later").observe(latency)

    def written(self, seconds: float) -> None:
        """A write took `seconds`."""
        self._blocked.observe(seconds)

    def finished(self, finish: Finish) -> None:
        """A turn came to its Summary."""
        self._audio.labels(self._model).inc(finish.audio_seconds)
        self._characters.labels(self._model).inc(finish.characters)
        if finish.audio_seconds > 0:
            self._real_time.observe(finish.work_seconds / finish.audio_seconds)


class VoiceMetrics:
    """What is measured of created voices."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._hits = Counter("tts_voice_prompt_cache_hits", "Voices found in memory.", registry=registry)
        self._misses = Counter("tts_voice_prompt_cache_misses", "Voices read from where they lie.", registry=registry)
        self._bytes = Gauge("tts_voice_prompt_cache_bytes", "Codes and embeddings in memory.", registry=registry)

    def looked_up(self, hit: bool) -> None:
        """A created voice was asked for; may be called on any thread."""
        (self._hits if hit else self._misses).inc()

    def held(self, size: int) -> None:
        """So many bytes of voices are in memory."""
        self._bytes.set(size)


class EngineMetrics:
    """The engine's `Observer`."""

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
        self._model = ""
        self._start_at_zero()

    def _start_at_zero(self) -> None:
        for stage in STAGES:
            self._batch.labels(stage)
            self._duration.labels(stage)
            self._replays.labels(stage)
        for reason in PREEMPTIONS:
            self._preemptions.labels(reason)

    @property
    def model(self) -> str:
        """The label of counters by model."""
        return self._model

    @model.setter
    def model(self, name: str) -> None:
        self._model = name
        for used in ("true", "discarded"):
            self._frames.labels(used, name)

    def step(self, timings: tuple[StageTiming, ...], state: EngineState) -> None:
        """One step: its stages, and where the engine stands after it."""
        for timing in timings:
            self._batch.labels(timing.stage).observe(timing.batch)
            self._duration.labels(timing.stage).observe(timing.seconds)
            if timing.graph:
                self._replays.labels(timing.stage).inc()
            elif timing.graph is False:
                self._fallbacks.labels(timing.stage, "disabled").inc()
        self._last_step.set(time.time())
        self.stand(state)

    def stand(self, state: EngineState) -> None:
        """Set the gauges."""
        self._queued.set(state.queued)
        self._running.set(state.running)
        self._parked.set(state.parked)
        self._paced.set(state.paced)
        self._blocks.set(state.blocks_used)
        self._capacity.set(state.blocks_capacity)

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

    def frames(self, used: int, discarded: int) -> None:
        """Codec frames were made."""
        self._frames.labels("true", self._model).inc(used)
        self._frames.labels("discarded", self._model).inc(discarded)
