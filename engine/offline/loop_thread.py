"""An event loop on a thread of its own."""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

TIMEOUT = 5.0  # seconds for what is left on the loop to end, then for the thread

T = TypeVar("T")


class LoopThread:
    """A running event loop.

    The thread does not keep the interpreter alive.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="offline-engine", daemon=True)
        self._thread.start()

    def submit(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        """Start `work` on the loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self) -> None:
        """Let what is left end, or cancel it.

        End the thread.
        """
        self.submit(_end_others()).result(3 * TIMEOUT)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(TIMEOUT)
        self._loop.close()


async def _end_others() -> None:
    for cancel in (False, True):
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others if cancel else ():
            task.cancel()
        if others:
            await asyncio.wait(others, timeout=TIMEOUT)
