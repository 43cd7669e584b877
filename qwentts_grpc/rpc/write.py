"""One message to a caller, who gets a limited time to take it."""

import asyncio
import logging
from typing import Any

from engine.api.errors import SlowConsumer
from qwentts_grpc.rpc.call import Context

LAST_WRITE = 1.0  # seconds that a write gets to end once its call has failed

log = logging.getLogger(__name__)


async def write(context: Context, message: Any, seconds: float) -> None:
    """Send `message`, and let the write end even where the call is cancelled meanwhile.

    gRPC forgets a first write that was cut short, and then cannot send the status: the caller would wait for ever.
    Raises `SlowConsumer` where the caller does not take it within `seconds`; the engine would notice as well,
    but could not reach a turn that hangs here.
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
    """Nobody may wait any more for a write that ends late."""
    if not write.cancelled() and write.exception() is not None:
        log.debug("a write ended in %r", write.exception())
