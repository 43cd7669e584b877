"""Time limits of a speech: queued, without text, unread."""

from engine.api.config import EngineConfig
from engine.api.errors import Busy, EngineError, InputIdle, SlowConsumer
from engine.scheduler.sequence import Sequence


def overdue(sequence: Sequence, unread_since: float | None, config: EngineConfig, now: float) -> EngineError | None:
    """Error of the limit exceeded, if any.

    `unread_since`: when its caller last took an event, while more wait for it.
    """
    idle = sequence.request.delivery.input_idle_timeout
    waited = 0.0 if sequence.queued is None else now - sequence.queued
    if sequence.admitted is None and waited > config.queue_timeout:
        return Busy(retry_after=config.queue_timeout)
    starved_since = sequence.waits.starved_since
    if idle and starved_since is not None and now - starved_since > idle:
        return InputIdle(f"no text for {idle:g} s")
    if unread_since is not None and now - unread_since > config.slow_consumer_timeout:
        return SlowConsumer(f"no audio was taken for {config.slow_consumer_timeout:g} s")
    return None
