"""Prometheus metrics of calls, of created voices."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    disable_created_metrics,
)

from qwentts_grpc import __version__
from qwentts_grpc.telemetry.engine_metrics import EngineMetrics
from qwentts_grpc.telemetry.host_metrics import HostMetrics
from qwentts_grpc.telemetry.tenant_metrics import TenantMetrics
from qwentts_grpc.wire.status import REJECTIONS

METHODS = ("Synthesize", "SynthesizeText")
OUTCOMES = (
    "stop",
    "length",  # the caller's own max_audio
    "cap",  # the longest that its text may take
    "guard",
    "cancelled_soft",
    "cancelled_rpc",
    "deadline",
    "input_idle",
    "call_age",
    "slow_consumer",
    "rejected",
    "failed",
)
CANCELLATIONS = ("message", "rpc", "slow_consumer", "drain")

_FIRST_AUDIO = (0.01, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5, 5, 10)
_LATENCY = (0.001, 0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64)
_BLOCKED = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30)
_REAL_TIME = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.5, 2, 4)

disable_created_metrics()  # type: ignore[no-untyped-call]  # one more sample a child, which is never read


@dataclass(frozen=True, slots=True)
class Finish:
    """Totals of a finished turn.

    Model, seconds of audio, seconds of work, characters of text.
    """

    model: str
    audio_seconds: float
    work_seconds: float
    characters: int


class ProcessMetrics:
    """Metrics of a process with engines, in their own registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.engine = EngineMetrics(self.registry)
        self.host = HostMetrics(self.registry)
        self._build = Info("tts_build", "What runs here.", registry=self.registry)
        self._load = Gauge(
            "tts_model_load_seconds",
            "Load time of a checkpoint, from its files to its first speech.",
            ("model",),
            registry=self.registry,
        )

    def loaded(self, model: str, seconds: float) -> None:
        """Record a checkpoint's load time, from files to first speech."""
        self._load.labels(model).set(seconds)

    def describe(self, build: Mapping[str, str], models: Iterable[str]) -> None:
        """Set build labels; start the counters of `models` at 0.

        `build`: version, torch, cuda.
        """
        names = tuple(models)
        self._build.info({**build, "model": ",".join(names)})
        for name in names:
            self.engine.start_at_zero(name)


class Metrics(ProcessMetrics):
    """Metrics of a process with callers too."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = CallMetrics(self.registry)
        self.voices = VoiceMetrics(self.registry)
        self.ready = Gauge("tts_ready", "1 while speeches are admitted.", registry=self.registry)

    def describe(self, build: Mapping[str, str], models: Iterable[str]) -> None:
        """Set build labels; start the counters of `models` at 0."""
        names = tuple(models)
        super().describe(build, names)
        for name in names:
            self.calls.start_at_zero(name)


def build_labels() -> dict[str, str]:
    """Versions of the server, of torch, of its CUDA.

    The build of torch contains its CUDA version ("2.11.0+cu128").
    """
    version, _, build = metadata.version("torch").partition("+")
    cuda = build.removeprefix("cu") if build.startswith("cu") else "none"
    return {"version": __version__, "torch": version, "cuda": cuda}


class CallMetrics:
    """Metrics at the wire; a call has exactly one outcome."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter("tts_requests", "Calls by outcome.", ("method", "outcome"), registry=registry)
        self._rejected = Counter("tts_requests_rejected", "Calls refused, by reason.", ("reason",), registry=registry)
        self._cancelled = Counter(
            "tts_cancellations",
            "Cancelled calls by origin; rpc: the caller's own cancel, or its connection's end, which look alike.",
            ("origin",),
            registry=registry,
        )
        self._unauthenticated = Counter(
            "tts_unauthenticated", "Calls refused without a known token.", registry=registry
        )
        self._open = Gauge("tts_streams_open", "Open calls.", ("method",), registry=registry)
        self._first_audio = Histogram(
            "tts_time_to_first_audio_seconds",
            "Time from a call's arrival to its first audio at gRPC, the caller's own waits included.",
            ("method", "model"),
            buckets=_FIRST_AUDIO,
            registry=registry,
        )
        self._server_first_audio = Histogram(
            "tts_server_time_to_first_audio_seconds",
            "Time from sufficient text and config to the first audio at gRPC.",
            ("method", "model"),
            buckets=_FIRST_AUDIO,
            registry=registry,
        )
        self._latency = Histogram(
            "tts_audio_chunk_latency_seconds",
            "Time from a chunk's last codec frame to its bytes at gRPC.",
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
            "tts_real_time_factor",
            "Time in which a turn could proceed, divided by the length of its audio.",
            buckets=_REAL_TIME,
            registry=registry,
        )
        self.tenants = TenantMetrics(registry)
        self._start_at_zero()

    def _start_at_zero(self) -> None:
        for method in METHODS:
            self._open.labels(method)
            for outcome in OUTCOMES:
                self._requests.labels(method, outcome)
        for reason in REJECTIONS:
            self._rejected.labels(reason)
        for origin in CANCELLATIONS:
            self._cancelled.labels(origin)
        for position in ("first", "later"):
            self._latency.labels(position)

    def start_at_zero(self, model: str) -> None:
        """Create the series of an unused model."""
        self._audio.labels(model)
        self._characters.labels(model)
        for method in METHODS:
            self._first_audio.labels(method, model)
            self._server_first_audio.labels(method, model)

    def opened(self, method: str) -> None:
        """Count an open call."""
        self._open.labels(method).inc()

    def closed(self, method: str, outcome: str) -> None:
        """Count an ended call, by one of `OUTCOMES`."""
        self._open.labels(method).dec()
        self._requests.labels(method, outcome).inc()

    def rejected(self, reason: str) -> None:
        """Count a refused call, by one of `REJECTIONS`."""
        self._rejected.labels(reason).inc()

    def cancelled(self, origin: str) -> None:
        """Count a cancelled call, by one of `CANCELLATIONS`."""
        self._cancelled.labels(origin).inc()

    def refused(self, method: str, reason: str) -> None:
        """Count an early refusal, by one of `REJECTIONS`.

        One before the call's service.
        Turns alone are counted.
        """
        if method in METHODS:
            self._requests.labels(method, "rejected").inc()
            self.rejected(reason)

    def unauthenticated(self) -> None:
        """Count a call without a known token."""
        self._unauthenticated.inc()

    def first_audio(self, method: str, model: str, seconds: float, share: float) -> None:
        """Record a call's first audio, handed to gRPC after `seconds`.

        `share`: the server's part of them.
        """
        self._first_audio.labels(method, model).observe(seconds)
        self._server_first_audio.labels(method, model).observe(share)

    def chunk(self, latency: float, first: bool) -> None:
        """Record a chunk's latency in seconds.

        From its last sampled frame to gRPC.
        """
        self._latency.labels("first" if first else "later").observe(latency)

    def written(self, seconds: float) -> None:
        """Record the duration of a write."""
        self._blocked.observe(seconds)

    def sent(self, model: str, seconds: float) -> None:
        """Record audio that was sent."""
        self._audio.labels(model).inc(seconds)

    def finished(self, finish: Finish) -> None:
        """Record a turn that reached its Summary."""
        self._characters.labels(finish.model).inc(finish.characters)
        if finish.audio_seconds > 0:
            self._real_time.observe(finish.work_seconds / finish.audio_seconds)


class VoiceMetrics:
    """Metrics of created voices."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._hits = Counter("tts_voice_prompt_cache_hits", "Voices found in memory.", registry=registry)
        self._misses = Counter("tts_voice_prompt_cache_misses", "Voices read from storage.", registry=registry)
        self._bytes = Gauge("tts_voice_prompt_cache_bytes", "Codes and embeddings in memory.", registry=registry)

    def looked_up(self, hit: bool) -> None:
        """Count a lookup of a created voice; for any thread."""
        (self._hits if hit else self._misses).inc()

    def held(self, size: int) -> None:
        """Set the bytes of voices in memory."""
        self._bytes.set(size)
