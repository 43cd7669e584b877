"""The scheduler alone, in simulated time.

The rate that one device would hold if the host cost next to nothing. `python -m benchmarks.parts.policy 20,40,100`
takes seconds. The load test's schedule and texts, the real scheduler and its chunks, and the times of `simulated`;
steps are queued one ahead of their results, as on a GPU.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from benchmarks.load.figures import Spread
from benchmarks.load.prompts import BUILT_IN, Prompt, read_prompts
from benchmarks.load.schedule import arrivals, prompt_order
from benchmarks.parts.simulated import CODEC, FRAME, FRAME_SAMPLES, PREFILL, seconds
from engine.api.events import AudioChunk, FinishReason
from engine.api.observer import NullObserver
from engine.api.request import Delivery, Sampling, SpeechRequest, TextMode
from engine.api.voice import Voice
from engine.checkpoint.config import ModelConfig
from engine.checkpoint.embedded import embedded_checkpoint
from engine.prompt.builder import PromptLayout
from engine.prompt.tokenizer import TextTokenizer
from engine.runner.cuda_graphs import ROW_SIZES, sizes_up_to
from engine.runner.passes import PREFILL_SIZES, RIDING_SIZES
from engine.runner.step_graphs import STREAM_SIZES
from engine.scheduler.batch import Batch, StepOutput
from engine.scheduler.batch_builder import Limits
from engine.scheduler.block_pool import BlockPool
from engine.scheduler.chunk_policy import SIZES, fit
from engine.scheduler.runaway import RunawayDetector
from engine.scheduler.scheduler import Outcome, Scheduler
from engine.scheduler.sequence import Sequence
from engine.scheduler.turn_text import TurnText

SLOTS, BLOCKS, BLOCK_SIZE, COLUMNS, POSITIONS, FRAMES = 128, 16_384, 16, 256, 4_096, 7_500
HOST, HOST_ROW = 0.001, 0.000_015  # seconds of the host for a step, and for each of its rows
MARGIN = 0.0025  # seconds before the end of a step at which the next is built
SILENCE = np.zeros(SIZES[-1] * FRAME_SAMPLES, np.int16)


@dataclass(slots=True)
class Run:
    """Results of one rate.

    `firsts`: seconds to first playable audio.
    """

    firsts: list[float] = field(default_factory=list)
    interrupted: set[Sequence] = field(default_factory=set)
    steps: int = 0
    rows: int = 0
    busy: float = 0.0


class Simulation:
    """One device, one scheduler, an event-driven clock."""

    def __init__(self, rate: float, length: float, first_chunk: int = 2, max_lead: float = 60.0) -> None:
        """Requests of `length` seconds, with `first_chunk` frames first."""
        folder = embedded_checkpoint()
        main, codec = (json.loads((folder / part / "config.json").read_text()) for part in (".", "speech_tokenizer"))
        config = ModelConfig.from_json(main, codec)
        self._layout = PromptLayout(config, Voice(row=next(iter(config.speakers.values()))), TextMode.INCREMENTAL, None)
        self._tokenizer = TextTokenizer.load(folder, "qwen2")
        self._delivery = Delivery(first_chunk_frames=first_chunk, max_lead=max_lead)
        self._due = _requests(rate, length)
        limits = Limits(SLOTS, COLUMNS, POSITIONS, FRAMES)
        self._scheduler = Scheduler(limits, BlockPool(BLOCKS, BLOCK_SIZE), NullObserver())
        self._now = self._free = 0.0  # the host's time, and when the device's queue ends
        self._open = 0
        self.done = Run()

    def run(self) -> Run:
        """Run until the last speech has ended."""
        before: tuple[Batch, float] | None = None
        while self._due or self._open:
            if before is not None:
                self._now = max(self._now, before[1] - MARGIN)
            self._admit()
            batch = self._scheduler.schedule(self._now)
            if batch is None:
                self._rest()
                continue
            launched = None if batch.empty else (batch, self._launch(batch))
            if before is not None:
                self._now = max(self._now, before[1])
                self._deliver(self._scheduler.commit(_output(before[0], self._now)))
            before = launched
        return self.done

    def _admit(self) -> None:
        while self._due and self._due[-1][0] <= self._now:
            arrived, prompt = self._due.pop()
            self._scheduler.add(self._sequence(arrived, prompt))
            self._open += 1
        self._deliver(self._scheduler.settle(self._now))
        self._scheduler.admit(self._now)

    def _sequence(self, arrived: float, prompt: Prompt) -> Sequence:
        request = SpeechRequest(sampling=Sampling(max_frames=prompt.frames), delivery=self._delivery)
        guard = RunawayDetector(0.0, self._layout.config.frame_seconds)
        made = Sequence(request, 0, self._layout, TurnText(self._layout, self._tokenizer), guard, arrived=arrived)
        made.text.append(prompt.text)
        made.text.end()
        return made

    def _rest(self) -> None:
        moments = [self._scheduler.wake_at(self._now), self._due[-1][0] if self._due else None]
        self._now = max(self._now + 1e-4, min((moment for moment in moments if moment is not None), default=self._now))

    def _launch(self, batch: Batch) -> float:
        """Queue a step; return the time of its end."""
        self._now += HOST + HOST_ROW * len(batch.rows)
        work = _work(batch)
        self._free = max(self._free, self._now) + work
        self.done.steps, self.done.rows = self.done.steps + 1, self.done.rows + len(batch.rows)
        self.done.busy += work
        return self._free

    def _deliver(self, outcomes: Iterable[tuple[Sequence, Outcome]]) -> None:
        for sequence, outcome in outcomes:
            match outcome:
                case AudioChunk():
                    self._hear(sequence, len(outcome.codes))
                case FinishReason():
                    self._scheduler.remove(sequence)
                    self._open -= 1

    def _hear(self, sequence: Sequence, frames: int) -> None:
        if sequence.playback.frames == 0:
            self.done.firsts.append(self._now - sequence.arrived)
        late, _ = sequence.playback.deliver(frames, self._now)
        sequence.taken += frames
        if late > 0:
            self.done.interrupted.add(sequence)


def _requests(rate: float, length: float) -> list[tuple[float, Prompt]]:
    """Arrival times with prompts, the last one first."""
    prompts = {prompt.id: prompt for prompt in read_prompts(BUILT_IN)}
    times = arrivals(0, "measurement", rate, length)
    names = prompt_order(0, "measurement", list(prompts), len(times))
    return [(time, prompts[name]) for time, name in zip(times, names, strict=True)][::-1]


def _work(batch: Batch) -> float:
    """Seconds of the device for `batch`."""
    rows, columns = len(batch.rows), batch.tokens
    if rows and 0 < columns <= RIDING_SIZES[-1]:
        work = seconds(FRAME, rows + next(size for size in RIDING_SIZES if size >= columns))
    else:
        work = _replay(PREFILL, columns, sizes_up_to(COLUMNS, PREFILL_SIZES)) + _replay(FRAME, rows, ROW_SIZES)
    calls = Counter(fit(chunk.count) for chunk in batch.chunks)
    return work + sum(_replay(CODEC[size], count, sizes_up_to(SLOTS, STREAM_SIZES)) for size, count in calls.items())


def _replay(times: Mapping[int, float], rows: int, sizes: Iterable[int]) -> float:
    """Seconds of the smallest graph for `rows`; 0 for none."""
    return seconds(times, next(size for size in sizes if size >= rows)) if rows else 0.0


def _output(batch: Batch, now: float) -> StepOutput:
    """Frames that end no speech."""
    codes, finite = np.full((len(batch.rows), 16), 5, np.int32), np.ones(len(batch.rows), bool)
    return StepOutput(batch, codes, finite, [SILENCE] * len(batch.chunks), now)


if __name__ == "__main__":
    for rate in map(float, sys.argv[1].split(",")):
        run = Simulation(rate, 15.0).run()
        first = Spread.of(run.firsts)
        print(
            f"{rate:g} requests/s: first audio {first.p50:.1f} / {first.p95:.1f} / {first.p99:.1f} ms, "
            f"{len(run.interrupted)} of {len(run.firsts)} with underruns, {run.rows / run.steps:.1f} rows and "
            f"{1e3 * run.busy / run.steps:.1f} ms a step",
            flush=True,
        )
