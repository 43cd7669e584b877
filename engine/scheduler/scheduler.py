"""Scheduler of steps: pure bookkeeping over sequences."""

from collections import deque

import numpy as np

from engine.api.errors import EngineError, GenerationFailed, RequestTooLarge
from engine.api.events import AudioChunk, FinishReason, FlushDone, SegmentDone
from engine.api.metrics import CODEC_FRAMES, TEXT_STARVED, EngineState
from engine.api.observer import Observer
from engine.api.types import Pcm
from engine.scheduler import chunk_policy
from engine.scheduler.admission import Admission
from engine.scheduler.batch import Batch, Chunk, StepOutput
from engine.scheduler.batch_builder import BatchBuilder, InFlightBatch, Limits
from engine.scheduler.block_pool import BlockPool
from engine.scheduler.segment import Segment
from engine.scheduler.sequence import Sequence

Outcome = AudioChunk | SegmentDone | FlushDone | FinishReason | EngineError


class Scheduler(Admission):
    """Scheduler of all sequences of an engine: admission, then steps.

    All methods run on the event loop's thread; none waits.
    """

    def __init__(self, limits: Limits, pool: BlockPool, observer: Observer) -> None:
        super().__init__(limits, pool, observer)
        self._flights: deque[InFlightBatch] = deque()
        self._decoding: deque[InFlightBatch] = deque()  # committed, their audio still to come
        self._last_scheduled = 0.0  # time of the last step

    def schedule(self, now: float) -> Batch | None:
        """Batch of the next step.

        Empty while results are outstanding, None when there is nothing to do.
        """
        # After a rest this is too long, which only decodes chunks sooner, once.
        step, self._last_scheduled = now - self._last_scheduled, now
        builder = BatchBuilder(self._limits.prefill_tokens, self._pool.block_size)
        by_urgency = sorted(self.running, key=lambda running: chunk_policy.urgency(running, now))
        for sequence in by_urgency:
            if sequence.slot is not None:  # an earlier one's need for blocks may have evicted it
                self._plan_frame(builder, sequence, now)
        chunk_policy.plan_chunks(builder, by_urgency, now, step)
        flight = builder.build()
        if flight.batch.empty:
            return flight.batch if self._flights else None
        self._flights.append(flight)
        return flight.batch

    def commit(self, output: StepOutput) -> list[tuple[Sequence, Outcome]]:
        """Append a step's frames to their sequences; return outcomes.

        Steps come oldest first. Audio that is still decoding follows by `commit_audio`.
        """
        if output.batch.empty:
            return []
        flight = self._flights.popleft()
        assert flight.batch is output.batch
        outcomes: list[tuple[Sequence, Outcome]] = []
        used = discarded = 0
        made = zip(flight.rows, output.codes.tolist(), output.finite.tolist(), strict=True)
        for (sequence, segment), codes, finite in made:
            if segment.finish is not None or sequence.closed:
                discarded += 1
            elif not finite:
                self.remove(sequence)
                outcomes.append((sequence, GenerationFailed("the model's values are not finite")))
            else:
                used += self._commit_frame(sequence, segment, tuple(codes))
        self._observer.record(CODEC_FRAMES, used, "true")
        self._observer.record(CODEC_FRAMES, discarded, "discarded")
        if flight.chunks:
            self._decoding.append(flight)
        return outcomes if output.decoding is not None else outcomes + self.commit_audio(output)

    def commit_audio(self, output: StepOutput) -> list[tuple[Sequence, Outcome]]:
        """Outcomes of a committed step's audio.

        Steps with chunks come oldest first.
        """
        if not output.batch.chunks:
            return []
        flight = self._decoding.popleft()
        assert flight.batch is output.batch
        outcomes: list[tuple[Sequence, Outcome]] = []
        for (sequence, segment), chunk, pcm in zip(flight.chunks, flight.batch.chunks, output.audio, strict=True):
            if not sequence.closed:
                self._check_runaway(sequence, segment, chunk, pcm)
                audio = _audio(sequence, segment, chunk, pcm, output.sampled_at)
                outcomes += [(sequence, audio)] if audio is not None else []
        return outcomes

    def settle(self, now: float) -> list[tuple[Sequence, Outcome]]:
        """Outcomes without a step.

        Segments whose audio is out, and speeches that can never be held.
        """
        outcomes: list[tuple[Sequence, Outcome]] = []
        for sequence in (*self.running, *self.waiting):
            if sequence.settled:
                continue
            while not sequence.closed and sequence.admitted is not None and sequence.segment.complete:
                outcomes += ((sequence, outcome) for outcome in self._close_segment(sequence))
            if not sequence.closed and self._too_large(sequence):
                self.remove(sequence)
                error = RequestTooLarge(f"the prompt needs more than {self._limits.positions} positions")
                outcomes.append((sequence, error))
            self._track_starvation(sequence, now)
        return outcomes

    def wake_at(self, now: float) -> float | None:
        """Next time at which time alone makes work.

        A paced speech becomes ready, or frames become due as audio.
        """
        waits = [s.ready_in(now) for s in self.running if s.segment.ready and s.paced(now)]
        waits += [chunk_policy.deadline(s, now) for s in self.running if s.segment.launched > s.segment.decoded]
        return min((now + wait for wait in waits if wait is not None), default=None)

    def state(self, now: float) -> EngineState:
        """Gauges."""
        parked = sum(s.starving for s in self.running) + sum(s.admitted is not None for s in self.waiting)
        paced = sum(s.paced(now) for s in self.running)
        queued = sum(s.admitted is None for s in self.waiting)
        return EngineState(
            queued, len(self.running), parked, paced, self._pool.used, self._pool.capacity, self._limits.slots
        )

    # ---- one speech's share of a step

    def _in_flight(self, segment: Segment) -> int:
        return sum(owner is segment for flight in self._flights for _, owner in flight.rows)

    def _plan_frame(self, builder: BatchBuilder, sequence: Sequence, now: float) -> None:
        segment = sequence.segment
        able = segment.finish is None and segment.ready and not self._at_limit(sequence)
        paced = able and sequence.paced(now)
        sequence.waits.pace(paced, now)
        if paced or not able:
            return
        position = segment.position
        stop = min(position, sequence.cached + builder.token_budget)
        if self._grow(builder, sequence, stop + 1):
            builder.init_slot(sequence)
            builder.add_prefill(sequence, stop)
            if sequence.cached == position:
                builder.add_row(sequence)

    def _at_limit(self, sequence: Sequence) -> bool:
        segment = sequence.segment
        codec_is_behind = segment.launched - segment.decoded >= chunk_policy.MOST_PENDING
        full = segment.launched >= self._frame_limit(sequence) or segment.position >= self._limits.positions
        return codec_is_behind or full

    def _frame_limit(self, sequence: Sequence) -> int:
        """Most frames of the current segment.

        The request's own limit, or the cap for its text, and the server's.
        """
        asked = sequence.request.sampling.max_frames
        server = self._limits.frames - sequence.total_frames
        return min(server, sequence.segment.cap if asked is None else asked - sequence.total_frames)

    # ---- outcomes

    def _commit_frame(self, sequence: Sequence, segment: Segment, codes: tuple[int, ...]) -> bool:
        """Append a frame; False for the end of speech."""
        speech = codes[0] != sequence.layout.config.codec.eos
        if speech:
            segment.frames.append(codes)
            full = len(segment.frames) >= self._frame_limit(sequence)
            out_of_room = segment.position >= self._limits.positions and segment.launched == len(segment.frames)
            if full or out_of_room:
                segment.finish = sequence.finish = FinishReason.LENGTH
        else:
            segment.stop()
        if segment.finish is not None and sequence.slot is not None:
            self._pool.release(sequence.blocks)
        return speech

    def _check_runaway(self, sequence: Sequence, segment: Segment, chunk: Chunk, pcm: Pcm) -> None:
        """End a speech that has run away.

        `chunk` is on its way out, with audio `pcm`.
        """
        frames = segment.frames[chunk.first : chunk.first + chunk.count]
        if (
            sequence.guard.update(frames, pcm[: len(frames) * sequence.layout.config.frame_samples])
            and segment.finish is None
        ):
            segment.finish = sequence.finish = FinishReason.GUARD
            if sequence.slot is not None:
                self._pool.release(sequence.blocks)

    def _close_segment(self, sequence: Sequence) -> list[Outcome]:
        segment, outcomes = sequence.segment, list[Outcome]()
        if segment.spoken:
            outcomes.append(_segment_done(segment))
        if segment.mark is not None:
            outcomes.append(FlushDone(segment.mark, segment.number))
        self._pool.release(sequence.blocks)
        if sequence.over:
            outcomes.append(sequence.finish)
            self.remove(sequence)
        else:
            sequence.next_segment()
        return outcomes

    def _track_starvation(self, sequence: Sequence, now: float) -> None:
        waits = sequence.waits
        if sequence.starving and not sequence.closed:
            waits.starve(now)
        else:
            sequence.note_text(None, now)
            if waits.starved_since is not None:
                self._observer.record(TEXT_STARVED, waits.resume(now, sequence.admitted))


def _segment_done(segment: Segment) -> SegmentDone:
    return SegmentDone(
        segment.number, segment.text_start, segment.text_end, segment.first_frame, len(segment.frames), segment.mode
    )


def _audio(sequence: Sequence, segment: Segment, chunk: Chunk, pcm: Pcm, sampled_at: float) -> AudioChunk | None:
    """Audio of a chunk up to the end of speech.

    Frames launched past it are cut, causality keeps the rest.
    """
    count = min(chunk.count, len(segment.frames) - chunk.first)
    if count <= 0:
        return None
    codes = np.array(segment.frames[chunk.first : chunk.first + count], np.int32)
    segment.delivered += count
    last = segment.complete and segment is sequence.segment and sequence.is_last_audio
    first_frame = segment.first_frame + chunk.first
    audio = pcm[: count * sequence.layout.config.frame_samples]
    return AudioChunk(audio, codes, first_frame, segment.number, last, sampled_at)
