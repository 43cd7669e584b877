"""Admission to slots: who waits, who runs, who gives way."""

from abc import ABC, abstractmethod
from collections import Counter

from engine.api.metrics import PREEMPTIONS
from engine.api.observer import Observer
from engine.scheduler.batch_builder import BatchBuilder, Limits, slot_of
from engine.scheduler.block_pool import BlockPool
from engine.scheduler.fair_queue import ahead, fair_order
from engine.scheduler.segment import Segment
from engine.scheduler.sequence import Sequence

EVICT_AFTER = 2.0  # seconds without text after which a waiting speech may take a parked one's slot
SPARE_LEAD = 2.0  # seconds of audio ahead of its listener with which a speech may lend its slot to another tenant


class Admission(ABC):
    """Slots with their blocks, with the queue."""

    def __init__(self, limits: Limits, pool: BlockPool, observer: Observer) -> None:
        self.waiting: list[Sequence] = []  # by arrival; evicted speeches come back here
        self.running: list[Sequence] = []  # by admission; each has a slot
        self._limits, self._pool, self._observer = limits, pool, observer
        self._free = list(range(limits.slots - 1, -1, -1))

    @abstractmethod
    def _in_flight(self, segment: Segment) -> int:
        """Frames of a segment that the device has not returned."""

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

    def check(self) -> None:
        """Assert that slots, blocks are each owned once.

        Cheap enough to run whenever the engine falls idle.
        """
        slots = [s.slot for s in self.running] + self._free
        assert sorted(slot for slot in slots if slot is not None) == list(range(self._limits.slots))
        assert sum(len(s.blocks) for s in self.running) == self._pool.used
        assert not any(s.blocks or s.slot is not None for s in self.waiting)
