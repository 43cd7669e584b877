"""One RPC from its arrival to its status: its id, its clock, and how it ended."""

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
from qwentts_grpc.wire.errors import CallTooOld, Cut, Internal, Refusal, Trailers, refusal

STATUS_TIMEOUT = 1.0  # seconds for a status to be taken
DEADLINE_SLACK = 0.05  # seconds; a client's clock may end a call just before the server's does

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")
Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class Ending:
    """How a call ended: its outcome, and where it applies the reason it was refused or who cut it short."""

    outcome: str
    rejected: str | None = None
    cancelled: str | None = None


class Call:
    """One RPC of the caller who was identified. `request_id` is made up until the caller's own is known.

    `ending` is set once, at the end. `facts` of the call are for the line of log that tells how it ended: nothing of
    them may be a caller's words.
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
        """Go by this id from now on, in the log too."""
        self.request_id = request_id
        logs.request_id.set(request_id)

    def elapsed(self) -> float:
        """Seconds since the call arrived."""
        return time.monotonic() - self.arrived

    def log_end(self, code: grpc.StatusCode, message: str, *values: object, reason: str | None = None) -> None:
        """Log how the call ended, once its ending is known."""
        assert self.ending is not None
        facts = {"method": self.method, "outcome": self.ending.outcome, "code": code.name, "reason": reason}
        extra = logs.fields(**facts, **self.facts)
        if code is not grpc.StatusCode.OK:
            extra |= log_floods.kind(f"{self.ending.outcome} calls, {reason or code.name}")
        log.info("%s " + message, self.method, *values, extra=extra)

    def out_of_time(self, margin: float) -> bool:
        """Whether the caller's deadline is less than `margin` seconds away."""
        remaining = self.context.time_remaining()
        return remaining is not None and remaining < margin


@asynccontextmanager
async def call_scope(call: Call) -> AsyncIterator[Call]:
    """Run the work of `call` inside; what it raises becomes the call's status, once, here.

    A cancel by the caller shows as CancelledError, or as an error of gRPC where it met a blocked write; both are
    an ending of their own, and only CancelledError goes on up.
    """
    error: EngineError | None = None
    done = False
    try:
        yield call
        done = True
    except* EngineError as group:
        error = _first(group)
    except* grpc.aio.BaseError:
        log.debug("the caller left during a write")
    except* Exception as group:
        log.error("a call failed inside the server", exc_info=group, extra=log_floods.kind("failed calls"))
        error = error or Internal()
    finally:
        if not done and (error is None or call.context.cancelled()):
            call.ending = call.ending or _left(call)
            late = call.ending.outcome == "deadline"
            code = grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.CANCELLED
            call.log_end(code, "ended by the caller: %s", call.ending.outcome)
    if error is not None:
        await _refuse(call, error)


async def answer(call: Call, work: Awaitable[Answer]) -> Answer:
    """What `work` comes to, as the answer of a call with one message; what it raises as the call's status."""
    results = []
    async with call_scope(call):
        results.append(await work)
    return results[0]


@asynccontextmanager
async def aging(seconds: float) -> AsyncIterator[None]:
    """Raise `CallTooOld` where the body takes longer than `seconds`."""
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


def _left(call: Call) -> Ending:
    if call.out_of_time(DEADLINE_SLACK):
        return Ending("deadline")
    return Ending("cancelled_rpc", cancelled="rpc")


async def _refuse(call: Call, error: EngineError) -> None:
    answer = refusal(error, call.request_id)
    call.ending = call.ending or _ending(error, answer)
    call.log_end(answer.code, "refused: %s %s", answer.code.name, answer.reason, reason=answer.reason)
    await abort(call.context, answer.code, answer.message, answer.trailers)


async def abort(context: Context, code: grpc.StatusCode, message: str, trailers: Trailers = ()) -> None:
    """End a call with this status, or raise CancelledError where its caller does not take it."""
    try:
        async with asyncio.timeout(STATUS_TIMEOUT):
            await context.abort(code, message, trailers)
    except grpc.aio.AbortError:
        raise
    except (TimeoutError, grpc.aio.BaseError):
        # It waits behind a message that nobody takes, or cannot be sent at all; `reset` frees what gRPC holds.
        raise asyncio.CancelledError("the caller takes no status") from None


def _ending(error: EngineError, answer: Refusal) -> Ending:
    if isinstance(error, Cut):
        return Ending("failed", cancelled="drain")
    slow = answer.outcome == "slow_consumer"
    return Ending(answer.outcome, rejected=answer.rejected, cancelled="slow_consumer" if slow else None)
