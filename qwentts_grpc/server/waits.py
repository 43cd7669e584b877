"""Waits with a limit, for one of several."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

CLOSE_TIMEOUT = 2.0  # seconds each for calls, the running step and the last spans to end
CLOSE_LIMIT = 4 * CLOSE_TIMEOUT  # seconds of the longest `Server.close`, with some slack

log = logging.getLogger(__name__)


async def within(seconds: float, what: str, work: Coroutine[Any, Any, object]) -> None:
    """Wait at most `seconds`, even if `work` ignores cancellation."""
    task = asyncio.create_task(work)
    if not (await asyncio.wait((task,), timeout=seconds))[0]:
        log.warning("%s did not close within %g s", what, seconds)
        task.cancel()


async def first(*waits: Coroutine[Any, Any, object]) -> int:
    """Index of the first to end; cancels the others.

    Raises what it raised.
    """
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        return next(index for index, task in enumerate(tasks) if task in done)
    finally:
        for task in tasks:
            task.cancel()
