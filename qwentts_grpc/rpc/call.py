"""One RPC from arrival to status: id, clock, ending."""

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc

from engine.api.errors import EngineError
from qwentts_grpc.telemetry import log_floods, logs
from qwentts_grpc.wire import caller
from qwentts_grpc.wire.errors import CallTooOld, DrainAborted, Internal
from qwentts_grpc.wire.status import Refusal, Trailers, refusal

STATUS_TIMEOUT = 1.0  # seconds for a status to be accepted
DEADLINE_SLACK = 0.05  # seconds; a client's clock may end a call just before the server's

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")
Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class Ending:
    """How a call ended.

    `outcome`, and where it applies the reason of its refusal or the origin of its cancel.
    """

    outcome: str
    rejected: str | None = None
    cancelled: str | None = None


class Call:
    """One RPC of an identified caller.

    `request_id` is generated until the caller's own is read. `ending` is set once, at the end. `facts`: fields of the
    final log line, never any text of a caller.
    """

    def __init__(self, method: str, context: Context) -> None:
        self.method = method
        self.context = context
        self.caller = caller.current.get()
        self.arrived = time.monotonic()
        self.ending: Ending | None = None
        self.facts: dict[str, object] = {}
        self.request_id = ""
        self.identify(uuid.uuid4().hex)

    def identify(self, request_id: str) -> None:
        """Use this id from now on, in logs too."""
        self.request_id = request_id
        logs.request_id.set(request_id)

    def elapsed(self) -> float:
        """Seconds since the call arrived."""
        return time.monotonic() - self.arrived

    def log_end(self, code: grpc.StatusCode, message: str, *values: object, reason: str | None = None) -> None:
        """Log the call's ending."""
        assert self.ending is not None
        facts = {"method": self.method, "outcome": self.ending.outcome, "code": code.name, "reason": reason}
        extra = logs.fields(**facts, **self.facts)
        if code is not grpc.StatusCode.OK:
            extra |= log_floods.kind(f"{self.ending.outcome} calls, {reason or code.name}")
        log.info("%s " + message, self.method, *values, extra=extra)

    def out_of_time(self, margin: float) -> bool:
        """Whether the deadline is less than `margin` seconds away."""
        return _less_time_than(self.context, margin)


@asynccontextmanager
async def call_scope(call: Call) -> AsyncIterator[Call]:
    """Run the body; turn its exception into the call's status.

    The single place that does so. Both CancelledError and a gRPC error from a blocked write mean a cancel by the
    caller: both end the call, only CancelledError propagates.
    """
    error: EngineError | None = None
    done = False
    try:
        yield call
        done = True
    except* EngineError as group:
        error = _first(group)
    except* grpc.aio.BaseError:
        log.debug("the caller disconnected during a write")
    except* Exception as group:
        log.error("a call failed inside the server", exc_info=group, extra=log_floods.kind("failed calls"))
        error = error or Internal()
    finally:
        if not done and call.ending is None and (error is None or call.context.cancelled()):
            code = code_of_cut(call.context)
            call.ending = _ending_of(code)
            call.log_end(code, "ended by the caller: %s", call.ending.outcome)
    if error is not None:
        await _refuse(call, error)


async def unary_call(call: Call, work: Awaitable[Answer]) -> Answer:
    """Result of `work` as the response of a unary call.

    Its exception becomes the call's status.
    """
    results = []
    async with call_scope(call):
        results.append(await work)
    return results[0]


@asynccontextmanager
async def aging(seconds: float) -> AsyncIterator[None]:
    """Raise `CallTooOld` where the body exceeds `seconds`."""
    try:
        async with asyncio.timeout(seconds) as timeout:
            yield
    except TimeoutError:
        if not timeout.expired():
            raise
        raise CallTooOld(seconds) from None


def _first(group: BaseExceptionGroup[EngineError]) -> EngineError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def code_of_cut(context: Context) -> grpc.StatusCode:
    """Status after the caller's deadline or cancel."""
    late = _less_time_than(context, DEADLINE_SLACK)
    return grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.CANCELLED


def _less_time_than(context: Context, seconds: float) -> bool:
    remaining = context.time_remaining()
    return remaining is not None and remaining < seconds


def _ending_of(code: grpc.StatusCode) -> Ending:
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return Ending("deadline")
    return Ending("cancelled_rpc", cancelled="rpc")


async def _refuse(call: Call, error: EngineError) -> None:
    answer = refusal(error, call.request_id)
    call.ending = call.ending or _ending(error, answer)
    call.log_end(answer.code, "refused: %s %s", answer.code.name, answer.reason, reason=answer.reason)
    await abort(call.context, answer.code, answer.message, answer.trailers)


async def abort(context: Context, code: grpc.StatusCode, message: str, trailers: Trailers = ()) -> None:
    """Abort with this status; CancelledError if it is not accepted."""
    try:
        async with asyncio.timeout(STATUS_TIMEOUT):
            await context.abort(code, message, trailers)
    except grpc.aio.AbortError:
        raise
    except (TimeoutError, grpc.aio.BaseError):
        # It waits behind an unread message, or cannot be sent at all; `reset` frees what gRPC holds.
        raise asyncio.CancelledError("the caller takes no status") from None


def _ending(error: EngineError, answer: Refusal) -> Ending:
    if isinstance(error, DrainAborted):
        return Ending("failed", cancelled="drain")
    slow = answer.outcome == "slow_consumer"
    return Ending(answer.outcome, rejected=answer.rejected, cancelled="slow_consumer" if slow else None)
