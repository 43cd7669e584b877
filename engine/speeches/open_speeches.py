"""Speeches with a slot, or in the queue."""

import asyncio
import time
from collections.abc import Iterable

from engine.api.config import EngineConfig
from engine.api.errors import Busy, EngineError, EngineFailed
from engine.api.events import AudioChunk, FinishReason, FlushDone, Notice, NoticeCode, SegmentDone
from engine.api.metrics import QUEUE_WAIT, SLOT_RELEASE
from engine.api.observer import Observer
from engine.api.queue_wait import QueueWaitEstimator
from engine.scheduler.scheduler import Outcome, Scheduler
from engine.scheduler.sequence import Sequence
from engine.scheduler.time_limits import overdue
from engine.speeches.speech import Speech

UNKNOWN_WAIT = 1.0  # seconds: the retry hint while no wait can be estimated


class OpenSpeeches:
    """Handles by sequence.

    What happens to a sequence reaches its caller here.
    `wake` is set whenever the step loop may have something to do. Belongs to the event loop's thread.
    """

    def __init__(self, config: EngineConfig, scheduler: Scheduler, observer: Observer) -> None:
        self.wake = asyncio.Event()
        self._config, self._scheduler, self._observer = config, scheduler, observer
        self._speeches: dict[Sequence, Speech] = {}
        self._wait_estimator = QueueWaitEstimator(config.max_speeches)

    def __len__(self) -> int:
        return len(self._speeches)

    def __contains__(self, speech: Speech) -> bool:
        return speech.sequence in self._speeches

    def check_room(self, tenant: str) -> None:
        """Raise `Busy` when the queue is full."""
        if len(self._speeches) >= self._config.max_speeches + self._config.max_queue:
            raise Busy(retry_after=self.queue_wait(tenant) or UNKNOWN_WAIT)

    def open(self, sequence: Sequence) -> Speech:
        """Handle of a new speech, not yet queued."""
        speech = Speech(sequence, self._config.max_text_characters, self._observer, self.wake.set, self._cancelled)
        self._speeches[sequence] = speech
        return speech

    def enqueue(self, speech: Speech) -> None:
        """Queue a speech whose layout is complete."""
        speech.sequence.queue(time.monotonic())
        self._scheduler.add(speech.sequence)
        self.wake.set()

    def started(self, sequence: Sequence, now: float) -> None:
        """Send `Started`: the speech has a slot."""
        self._speeches[sequence].started()
        self._observer.record(QUEUE_WAIT, now - sequence.arrived)
        self.wake.set()  # it may have something to settle

    def deliver(self, outcomes: Iterable[tuple[Sequence, Outcome]]) -> None:
        """Queue outcomes as events; end the speeches that are over."""
        for sequence, outcome in outcomes:
            speech = self._speeches.get(sequence)
            if speech is None:
                continue
            match outcome:
                case AudioChunk():
                    sequence.playback.deliver(len(outcome.codes), time.monotonic())
                    speech.deliver(outcome)
                case SegmentDone() | FlushDone():
                    speech.deliver(outcome)
                case FinishReason():
                    self._drop(speech)
                    speech.finish(outcome)
                case EngineError():
                    self.end(speech, outcome)

    def check_time_limits(self, now: float) -> None:
        """End what is overdue; notify callers of pauses."""
        for sequence, speech in list(self._speeches.items()):
            error = overdue(sequence, speech.unread_since, self._config, now)
            if error is not None:
                self.end(speech, error)
            elif sequence.waits.starved_since is not None and sequence.playback.frames:
                speech.notify(Notice(NoticeCode.TEXT_STARVED, "waiting for more text"))
            elif sequence.ahead(now):
                speech.notify(Notice(NoticeCode.PACED, "far enough ahead of playback"))

    def end(self, speech: Speech, error: EngineError) -> None:
        """End a speech with an error; frees its slot."""
        self._drop(speech)
        speech.fail(error)

    def fail(self, error: BaseException) -> None:
        """End all speeches because the engine has failed."""
        for speech in list(self._speeches.values()):
            failure = EngineFailed(f"the engine has stopped: {type(error).__name__}")
            failure.__cause__ = error
            self.end(speech, failure)

    def cancel(self) -> None:
        """Cancel all speeches."""
        for speech in list(self._speeches.values()):
            speech.cancel()

    def queue_wait(self, tenant: str) -> float:
        """Expected wait in seconds for a speech of `tenant`.

        0 where there is no estimate.
        Speeches that wait for text are not in its way: they give their slots up.
        """
        ahead = sum(not sequence.starving for sequence in self._speeches) - self._config.max_speeches
        if ahead < 0:
            return 0.0
        later = sum(sequence.admitted is None for sequence in self._speeches) - self._scheduler.ahead(tenant)
        return self._wait_estimator.estimate(max(0, ahead - max(0, later))) or 0.0

    def _drop(self, speech: Speech) -> None:
        """Remove a speech; frees its slot."""
        self._scheduler.remove(speech.sequence)
        if self._speeches.pop(speech.sequence, None) and speech.sequence.admitted is not None:
            self._wait_estimator.record(time.monotonic() - speech.sequence.admitted)
        self.wake.set()

    def _cancelled(self, speech: Speech) -> None:
        """Drop a speech on its caller's cancel."""
        began = time.monotonic()
        self._drop(speech)
        self._observer.record(SLOT_RELEASE, time.monotonic() - began)
