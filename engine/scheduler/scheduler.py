"""Scheduler of steps: pure bookkeeping over sequences.

Admission, readiness, blocks and preemption, chunks.
"""

from collections import Counter, deque
from collections.abc import Iterable

import numpy as np

from engine.api.errors import EngineError, GenerationFailed, RequestTooLarge
from engine.api.events import AudioChunk, FinishReason, FlushDone, SegmentDone
from engine.api.metrics import CODEC_FRAMES, PREEMPTIONS, TEXT_STARVED, EngineState
from engine.api.observer import Observer
from engine.api.types import Pcm
from engine.scheduler import chunk_policy
from engine.scheduler.batch import Batch, Chunk, StepOutput
from engine.scheduler.batch_builder import BatchBuilder, InFlightBatch, Limits, slot_of
from engine.scheduler.block_pool import BlockPool
from engine.scheduler.fair_queue import ahead, fair_order
from engine.scheduler.segment import Segment
from engine.scheduler.sequence import Sequence

EVICT_AFTER = 2.0  # seconds without text after which a waiting speech may take a parked one's slot
SPARE_LEAD = 2.0  # seconds of audio ahead of its listener with which a speech may lend its slot to another tenant
Outcome = AudioChunk | SegmentDone | FlushDone | FinishReason | EngineError


class Scheduler:
    """Scheduler of all sequences of an engine.

    All methods run on the event loop's thread; none waits.
    """

    def __init__(self, limits: Limits, pool: BlockPool, observer: Observer) -> None:
        self.waiting: list[Sequence] = []  # by arrival; evicted speeches come back here
        self.running: list[Sequence] = []  # by admission; each has a slot
        self._limits, self._pool, self._observer = limits, pool, observer
        self._free = list(range(limits.slots - 1, -1, -1))
        self._flights: deque[InFlightBatch] = deque()
        self._last_scheduled = 0.0  # time of the last step

    def add(self, sequence: Sequence) -> None:
        """Queue a speech by its time of arrival."""
        self.waiting.append(sequence)
        self.waiting.sort(key=lambda waiting: waiting.arrived)

    def remove(self, sequence: Sequence) -> None:
        """Drop a speech, waiting or running.

        Frames of it still on the device are dropped as they come.
        """
        sequence.closed = True
        if sequence in self.waiting:
            self.waiting.remove(sequence)
        elif sequence in self.running:
            self._leave(sequence)

    def admit(self, now: float) -> list[Sequence]:
        """Give free slots to waiting speeches in fair order.

        Returns those admitted for the first time.
        """
        fresh = []
        for sequence in fair_order([waiting for waiting in self.waiting if waiting.needs_slot], tuple(self.running)):
            if not self._make_room(sequence, now):
                if sequence.segment.ready:
                    break  # later speeches do not overtake one that could go on
                continue
            self._enter(sequence)
            if sequence.admitted is None:
                sequence.admitted = now
                fresh.append(sequence)
        return fresh

    def ahead(self, tenant: str) -> int:
        """Number of waiting speeches before a newcomer of `tenant`.

        Counts those that get their first slot.
        """
        waiting = Counter(sequence.request.tenant for sequence in self.waiting if sequence.admitted is None)
        return ahead(tenant, waiting, Counter(sequence.request.tenant for sequence in self.running))

    def schedule(self, now: float) -> Batch | None:
        """Batch of the next step.

        Empty while results are outstanding, None when there is nothing to do.
        """
        # After a rest this is too long, which only decodes chunks sooner, once.
        step, self._last_scheduled = now - self._last_scheduled, now
        builder = BatchBuilder(self._limits.prefill_tokens, self._pool.block_size)
        by_urgency = sorted(self.running, key=lambda running: _urgency(running, now))
        for sequence in by_urgency:
            if sequence.slot is not None:  # an earlier one's need for blocks may have evicted it
                self._plan_frame(builder, sequence, now)
        self._plan_chunks(builder, by_urgency, now, step)
        flight = builder.build()
        if flight.batch.empty:
            return flight.batch if self._flights else None
        self._flights.append(flight)
        return flight.batch

    def commit(self, output: StepOutput) -> list[tuple[Sequence, Outcome]]:
        """Append a step's frames to their sequences; return outcomes.

        Steps come oldest first.
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
        waits += [_patience(s, now) for s in self.running if s.segment.launched > s.segment.decoded]
        return min((now + wait for wait in waits if wait is not None), default=None)

    def state(self, now: float) -> EngineState:
        """Gauges."""
        parked = sum(s.starving for s in self.running) + sum(s.admitted is not None for s in self.waiting)
        paced = sum(s.paced(now) for s in self.running)
        queued = sum(s.admitted is None for s in self.waiting)
        return EngineState(
            queued, len(self.running), parked, paced, self._pool.used, self._pool.capacity, self._limits.slots
        )

    def check(self) -> None:
        """Assert that slots, blocks are each owned once.

        Cheap enough to run whenever the engine falls idle.
        """
        slots = [s.slot for s in self.running] + self._free
        assert sorted(slot for slot in slots if slot is not None) == list(range(self._limits.slots))
        assert sum(len(s.blocks) for s in self.running) == self._pool.used
        assert not any(s.blocks or s.slot is not None for s in self.waiting)

    # ---- slots and blocks

    def _enter(self, sequence: Sequence) -> None:
        self.waiting.remove(sequence)
        self.running.append(sequence)
        sequence.slot, sequence.lent = self._free.pop(), False

    def _leave(self, sequence: Sequence) -> None:
        assert sequence.slot is not None
        self.running.remove(sequence)
        self._free.append(sequence.slot)
        sequence.slot = None
        self._pool.release(sequence.blocks)
        sequence.reset_slot()

    def _evict(self, sequence: Sequence, reason: str) -> None:
        """Requeue a speech, to be recomputed from text plus codes."""
        self._leave(sequence)
        sequence.segment.launched = len(sequence.segment.frames) + self._in_flight(sequence.segment)
        self.add(sequence)
        self._observer.record(PREEMPTIONS, 1, reason)

    def _in_flight(self, segment: Segment) -> int:
        return sum(owner is segment for flight in self._flights for _, owner in flight.rows)

    def _make_room(self, candidate: Sequence, now: float) -> bool:
        """Free a slot with enough blocks, by eviction if needed."""
        while not (self._free and self._fits(candidate)):
            if not (self._evict_parked(candidate, now) or self._evict_richest(candidate, now)):
                return False
        return True

    def _evict_parked(self, candidate: Sequence, now: float) -> bool:
        """Evict the speech longest without text.

        Only if the candidate can use the slot at once.
        """
        parked = [s for s in self.running if (since := s.waits.starved_since) is not None and now - since > EVICT_AFTER]
        if not parked or not candidate.segment.ready:
            return False
        self._evict(min(parked, key=lambda s: s.waits.starved_since or now), "priority")
        return True

    def _evict_richest(self, candidate: Sequence, now: float) -> bool:
        """Evict a speech of the tenant with the most slots.

        Only where the candidate's tenant has at least two fewer.
        The speech farthest ahead of its listener lends its slot, and gets the next one in its tenant's turn.
        """
        held = Counter(running.request.tenant for running in self.running)
        most = max(held.values(), default=0)
        if candidate.admitted is not None or not candidate.segment.ready or most < held[candidate.request.tenant] + 2:
            return False
        lenders = [s for s in self.running if held[s.request.tenant] == most and s.lead(now) >= SPARE_LEAD]
        if not lenders:
            return False
        lender = max(lenders, key=lambda running: running.lead(now))
        lender.lent = True
        self._evict(lender, "share")
        return True

    def _fits(self, sequence: Sequence) -> bool:
        """Whether the free blocks hold its prompt up to here."""
        segment = sequence.segment
        if segment.finish is not None or not segment.ready or self._too_large(sequence):
            return True
        return self._pool.needed(sequence.segment.position + 1) <= self._pool.capacity - self._pool.used

    def _too_large(self, sequence: Sequence) -> bool:
        segment = sequence.segment
        return not segment.frames and segment.ready and segment.position >= self._limits.positions

    def _grow(self, builder: BatchBuilder, sequence: Sequence, positions: int) -> bool:
        """Blocks for `positions`, by eviction of the latest if needed.

        False where the sequence itself is the latest.
        """
        while not self._pool.grow(sequence.blocks, positions):
            victim = max((s for s in self.running if s.blocks or s is sequence), key=lambda s: s.arrived)
            builder.drop(slot_of(victim))
            self._evict(victim, "kv")
            if victim is sequence:
                return False
        return True

    # ---- one speech's share of a step

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

    def _plan_chunks(self, builder: BatchBuilder, by_urgency: Iterable[Sequence], now: float, step: float) -> None:
        """Add due codec calls, most urgent first.

        Chunks of one size share a call, for calls cost most.
        """
        counts = ((sequence, _frames_due(sequence, now, step)) for sequence in by_urgency if sequence.slot is not None)
        due = [(sequence, count) for sequence, count in counts if count > 0]
        budget = chunk_policy.STEP_FRAMES
        while due:
            size, newcomers = chunk_policy.fit(due[0][1]), due[0][0].slack(now) is None
            most, taken, left = chunk_policy.most_streams(budget, size), 0, []
            for sequence, count in due:
                if taken < most and _joins(sequence, count, size):
                    builder.add_chunk(sequence, count)
                    taken += 1
                else:
                    left.append((sequence, count))
            if not taken:
                return
            budget -= chunk_policy.CALL_FRAMES + size * taken
            # All audio of a step comes out together, so first chunks wait for no others that have time.
            due = [entry for entry in left if _soon_dry(entry[0], now)] if newcomers else left

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


def _frames_due(sequence: Sequence, now: float, step: float) -> int:
    """Frames to decode now; none where not positive."""
    segment, largest = sequence.segment, sequence.request.delivery.max_chunk_frames
    if segment.finish is not None:
        return min(len(segment.frames) - segment.decoded, chunk_policy.SIZES[-1])
    return chunk_policy.due(segment.launched - segment.decoded, _frames_enough(sequence, now, step), largest)


def _frames_enough(sequence: Sequence, now: float, step: float) -> int:
    """Frames that its next chunk waits for."""
    slack, delivery = sequence.slack(now), sequence.request.delivery
    if sequence.starving:
        return 1
    if slack is None:
        return delivery.first_chunk_frames
    return delivery.max_chunk_frames if step < chunk_policy.patience(slack, sequence.playback.waited(now)) else 1


def _patience(sequence: Sequence, now: float) -> float | None:
    """Seconds its frames may stay undecoded.

    None before the first chunk.
    """
    slack = sequence.slack(now)
    return None if slack is None else chunk_policy.patience(slack, sequence.playback.waited(now))


def _urgency(sequence: Sequence, now: float) -> tuple[float, int]:
    """Sort key of urgency.

    First chunks precede all, those with less of a prompt to read first; the others go by the listener's slack.
    """
    slack = sequence.slack(now)
    if slack is not None:
        return slack, 0
    return -float("inf"), sequence.segment.position - sequence.cached if sequence.segment.ready else 0


def _joins(sequence: Sequence, count: int, size: int) -> bool:
    """Whether a chunk of `count` may be decoded at `size`.

    Nothing is decoded after a segment's last, so that one may be too large.
    """
    over = sequence.segment.finish is not None and count == len(sequence.segment.frames) - sequence.segment.decoded
    return count == size or (over and count <= size)


def _soon_dry(sequence: Sequence, now: float) -> bool:
    """Whether its chunk cannot wait for a step without newcomers."""
    slack = sequence.slack(now)
    return slack is None or slack < chunk_policy.SHORT
