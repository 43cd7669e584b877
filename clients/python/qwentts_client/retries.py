"""Retries of a call that has not been accepted."""

import asyncio
import contextlib
import time

import grpc

from qwentts_client.errors import TTSError, decoded
from qwentts_client.status import FinalStatus
from qwentts_client.targets import Target

FIRST_WAIT, LONGEST_WAIT = 0.1, 1.0  # seconds between two attempts
Code = grpc.StatusCode


class Contact:
    """Contact of one client with its server.

    `reached`: whether it has ever answered.
    """

    def __init__(self, target: Target, retry_for: float) -> None:
        """`retry_for`: seconds to wait for a restarting server."""
        self.target = target
        self.retry_for = retry_for
        self.reached = False


class Retries:
    """The attempts of one call.

    `timeout`: seconds for all of them, None for no limit.
    """

    def __init__(self, contact: Contact, timeout: float | None) -> None:
        self._contact = contact
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._until: float | None = None
        self._wait = FIRST_WAIT

    def remaining(self) -> float | None:
        """Seconds until the deadline."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def reached(self) -> None:
        """Record an answer of the server."""
        self._contact.reached = True

    async def decoded(self, error: grpc.aio.AioRpcError, status: FinalStatus) -> TTSError:
        """The final error, without another attempt."""
        failure = await decoded(error, status, self._contact.target)
        self._contact.reached |= failure.answered
        return failure

    async def wait(self, failure: TTSError, over: asyncio.Event | None = None) -> bool:
        """Whether to try again, after a pause that `over` ends.

        Only a restarting server is waited for: one that refuses as such, or has answered before and cannot be reached.
        """
        if failure.code() is not Code.UNAVAILABLE or not self._contact.reached:
            return False
        now = time.monotonic()
        self._until = self._until or now + self._contact.retry_for
        pause = min(failure.retry_after or self._wait, LONGEST_WAIT)
        self._wait = min(2 * self._wait, LONGEST_WAIT)
        if now + pause > min(self._until, self._deadline or self._until):
            return False
        await _pause(pause, over)
        return not (over and over.is_set())


async def _pause(seconds: float, over: asyncio.Event | None) -> None:
    if over is None:
        await asyncio.sleep(seconds)
    else:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(over.wait(), seconds)
