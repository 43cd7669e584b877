"""Writes one message to a caller within a time limit."""

import asyncio
import logging
from typing import Any

from engine.api.errors import SlowConsumer
from qwentts_grpc.rpc.call import Context

LAST_WRITE = 1.0  # seconds for a write to end once its call has failed

log = logging.getLogger(__name__)


async def write(context: Context, message: Any, seconds: float) -> None:
    """Send `message`; the write survives a cancel of the call.

    After an interrupted first write gRPC cannot send the status, and the caller would wait for ever. Raises
    `SlowConsumer` if not written within `seconds`; the engine's own check cannot reach a turn that hangs here.
    """
    task = asyncio.ensure_future(context.write(message))
    task.add_done_callback(_log_late_error)
    try:
        done, _ = await asyncio.wait((task,), timeout=seconds)
    except asyncio.CancelledError:
        await asyncio.wait((task,), timeout=LAST_WRITE)
        task.cancel()
        raise
    if not done:
        asyncio.get_running_loop().call_later(LAST_WRITE, task.cancel)  # what it holds would outlive a reset
        raise SlowConsumer(f"no message was taken for {seconds:.3g} s")
    task.result()


def _log_late_error(write: asyncio.Future[None]) -> None:
    """Log the error of an abandoned write."""
    if not write.cancelled() and write.exception() is not None:
        log.debug("a write ended in %r", write.exception())
