"""Metrics of the engine, each declared once.

`Observer.record` takes their values where they arise.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from engine.api.lateness import CAUSES
from engine.api.observer import Kind, Metric, Observer, StageTiming

STAGES = ("prefill", "talker", "predictor", "frame", "codec")  # frame: talker and predictor as one graph


def _counter(name: str, text: str, **labels: tuple[str, ...]) -> Metric:
    return Metric(Kind.COUNTER, name, text, labels)


def _histogram(name: str, text: str, buckets: tuple[float, ...], **labels: tuple[str, ...]) -> Metric:
    return Metric(Kind.HISTOGRAM, name, text, labels, buckets)


def _gauge(name: str, text: str) -> Any:
    """Field of `EngineState` with its metric."""
    return field(default=0, metadata={"metric": Metric(Kind.GAUGE, name, text)})


QUEUE_WAIT = _histogram(
    "tts_queue_wait_seconds",
    "Time from arrival to a slot.",
    (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
CHUNK_INTERVAL = _histogram(
    "tts_audio_chunk_interval_seconds",
    "Time between two audio chunks of one turn.",
    (0.005, 0.01, 0.02, 0.04, 0.08, 0.12, 0.16, 0.24, 0.32, 0.5, 1, 2.5),
)
LATENESS = _histogram(
    "tts_audio_chunk_lateness_seconds",
    "Lateness of a chunk against ideal playback, by cause; every chunk counts once for each cause.",
    (0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5),
    cause=CAUSES,
)
UNDERRUNS = _counter("tts_underruns", "Underruns of ideal playback, by main cause.", cause=CAUSES)
UNDERRUN_SECONDS = _counter("tts_underrun_seconds", "Time that ideal playback was dry, by cause.", cause=CAUSES)
STEP_BATCH = _histogram(
    "tts_engine_step_batch_size",
    "Batch size of a stage in a step.",
    (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128),
    stage=STAGES,
)
STEP_SECONDS = _histogram(
    "tts_engine_step_duration_seconds",
    "Duration of a stage in a step.",
    (0.001, 0.002, 0.003, 0.004, 0.006, 0.008, 0.012, 0.016, 0.024, 0.04, 0.08, 0.16),
    stage=STAGES,
)
GRAPH_REPLAYS = _counter("tts_graph_replays", "Captured graphs replayed.", stage=STAGES)
GRAPH_FALLBACKS = _counter("tts_graph_fallbacks", "Steps that ran without a graph.", stage=STAGES, reason=("disabled",))
TEXT_STARVED = _counter("tts_text_starved_seconds", "Time that speeches waited for text.")
PREEMPTIONS = _counter("tts_preemptions", "Preempted speeches, to be recomputed.", reason=("kv", "priority", "share"))
SLOT_RELEASE = _histogram(
    "tts_slot_release_seconds",
    "Time from a cancel to the release of its blocks.",
    (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1),
)
CODEC_FRAMES = _counter(
    "tts_codec_frames",
    "Codec frames generated: delivered, or discarded after a cancel.",
    used=("true", "discarded"),
    model=(),
)


@dataclass(frozen=True, slots=True)
class EngineState:
    """Gauges of one moment, from `Engine.state`.

    Those of several engines add up, but for `last_step`.
    """

    queued: int = _gauge("tts_queue_depth_requests", "Speeches waiting for a slot.")
    running: int = _gauge("tts_engine_sequences_running", "Speeches holding a slot.")
    parked: int = _gauge("tts_engine_sequences_parked", "Speeches waiting for text.")
    paced: int = _gauge("tts_engine_sequences_paced", "Speeches paused far enough ahead of playback.")
    blocks_used: int = _gauge("tts_kv_blocks_used", "KV cache blocks in use.")
    blocks_capacity: int = _gauge("tts_kv_blocks_capacity", "KV cache blocks in the pool.")
    slots: int = _gauge("tts_engine_slots", "Slots: speeches that can run at once.")
    queue_places: int = _gauge("tts_queue_capacity_requests", "Queue capacity: speeches that can wait for a slot.")
    last_step: float = _gauge(
        "tts_engine_last_step_timestamp_seconds",
        "Unix time at the end of the last step, the earliest of engines whose speeches could go on.",
    )

    @property
    def runnable(self) -> int:
        """Speeches that could go on."""
        return self.running - self.parked - self.paced


def record_step(observer: Observer, timings: Iterable[StageTiming]) -> None:
    """Record the stages of a step that has ended."""
    for timing in timings:
        observer.record(STEP_BATCH, timing.batch, timing.stage)
        observer.record(STEP_SECONDS, timing.seconds, timing.stage)
        if timing.graph:
            observer.record(GRAPH_REPLAYS, 1, timing.stage)
        elif timing.graph is False:
            observer.record(GRAPH_FALLBACKS, 1, timing.stage, "disabled")
