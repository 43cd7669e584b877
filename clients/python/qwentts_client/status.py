"""The server's status of a call, where grpcio hides it."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

import grpc

FAILED_WRITE = "Internal error from Core"  # grpcio's text in place of the status where a write meets the call's end
SETTLING = 0.5  # seconds in which the status follows a failed write


class FinalStatus:
    """Watches one call of grpcio for its server's status."""

    def __init__(self, call: Any) -> None:
        self._error: grpc.aio.AioRpcError | None = None
        self._known = asyncio.Event()
        call.add_done_callback(self._note)  # called for each status, of which the last one counts

    async def of(self, error: grpc.aio.AioRpcError) -> grpc.aio.AioRpcError:
        """The server's error, if `error` is only a failed write."""
        if not (error.details() or "").startswith(FAILED_WRITE):
            return error
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._known.wait(), SETTLING)
        return self._error or error

    def _note(self, call: Any) -> None:
        details = _at_once(call.details()) or ""
        if not details.startswith(FAILED_WRITE):
            initial, trailing = _at_once(call.initial_metadata()), _at_once(call.trailing_metadata())
            self._error = grpc.aio.AioRpcError(_at_once(call.code()), initial, trailing, details)
            self._known.set()


def _at_once(answer: Coroutine[Any, Any, Any]) -> Any:
    """Result of a coroutine that need not wait, else None."""
    try:
        answer.send(None)
    except StopIteration as end:
        return end.value
    answer.close()
    return None
