"""Concurrency limits: a budget for each kind of call."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc

from engine.api.errors import InputIdle, InvalidRequest
from qwentts_grpc.admission.call_rate import CallRate
from qwentts_grpc.admission.refusals import Refusals
from qwentts_grpc.admission.tenants import Tenants
from qwentts_grpc.rpc import health
from qwentts_grpc.rpc.call import STATUS_TIMEOUT, Call, Context, abort, call_scope
from qwentts_grpc.rpc.incoming import cancel_may_come
from qwentts_grpc.rpc.interceptor import SHAPES, Handler, named
from qwentts_grpc.rpc.reflection import V1, V1ALPHA
from qwentts_grpc.rpc.reset import reset_later
from qwentts_grpc.rpc.write import write
from qwentts_grpc.wire import peers
from qwentts_grpc.wire.errors import CallRateLimit, TenantLimit, TooManyCalls
from qwentts_grpc.wire.limits import Limits

CONNECTIONS = 4  # connections that a caller needs at least to hold every call of the server


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of open calls, with `seconds` each.

    `per_host` None: no limit of its own. `evicts`: the newest call replaces the oldest.
    """

    calls: int
    per_host: int | None = None
    evicts: bool = False
    age: float = 60.0


# A check ends within a millisecond, so the oldest of many is one that its caller does not read.
CHECKS = Budget(calls=64, evicts=True, age=1.0)
WATCHES = Budget(calls=64, per_host=16, age=600.0)
REFLECTION = Budget(calls=16, per_host=8)

# Foreign services: health checks need no token, reflection none where the others need none.
PUBLIC: Mapping[str, Budget] = {
    f"/{health.NAME}/Check": CHECKS,
    f"/{health.NAME}/List": CHECKS,
    f"/{health.NAME}/Watch": WATCHES,
    f"/{V1}/ServerReflectionInfo": REFLECTION,
    f"/{V1ALPHA}/ServerReflectionInfo": REFLECTION,
}


class OpenCalls:
    """Open calls within one budget.

    Belongs to the event loop's thread.
    """

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self._hosts: dict[asyncio.Task[Any] | None, str] = {}  # by each call's handler task, the oldest first

    @contextmanager
    def admit(self, peer: str) -> Iterator[None]:
        """Count the current handler; raises `TooManyCalls`."""
        task, host = asyncio.current_task(), peers.host(peer)
        self._make_room(host)
        self._hosts[task] = host
        try:
            yield
        finally:
            self._hosts.pop(task, None)

    def _make_room(self, host: str) -> None:
        most = self.budget.per_host
        if most is not None and sum(other == host for other in self._hosts.values()) >= most:
            raise TooManyCalls("this host", most)
        if len(self._hosts) >= self.budget.calls:
            if not self.budget.evicts:
                raise TooManyCalls("the server", self.budget.calls)
            oldest = next(iter(self._hosts))
            del self._hosts[oldest]
            if oldest is not None:
                oldest.cancel()


class CallLimits(grpc.aio.ServerInterceptor):
    """Serves every call as a request stream, under one limit.

    So its first message has a time limit too. `callers`: open calls of the contract's services, shared among `tenants`.
    `refused(method, reason)` is called for a call that never reached its service.
    """

    def __init__(
        self,
        callers: int,
        tenants: Tenants,
        rate: CallRate,
        limits: Limits,
        refusals: Refusals,
        refused: Callable[[str, str], None],
    ) -> None:
        self._callers = OpenCalls(Budget(callers))
        self._tenants = tenants
        self._rate = rate
        shared = {budget: OpenCalls(budget) for budget in PUBLIC.values()}
        self._public = {method: shared[budget] for method, budget in PUBLIC.items()}
        self._limits = limits
        self._refusals = refusals
        self._refused = refused

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """The original handler, within its budget."""
        method = handler_call_details.method
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        public = self._public.get(method)
        handle = _public(handler, public) if public else self._limited(handler, named(method)[1])
        return grpc.stream_stream_rpc_method_handler(handle, handler.request_deserializer, handler.response_serializer)

    def _limited(self, handler: Handler, method: str) -> Any:
        async def handle(requests: Any, context: Context) -> None:
            call = Call(method, context)
            try:
                self._rate.take(call.caller)
                with self._tenants.call(call.caller), self._callers.admit(context.peer()):
                    await self._run(handler, requests, call)
            except (CallRateLimit, TenantLimit, TooManyCalls) as error:
                self._refused(method, error.reason.lower())
                await self._refusals.refuse(call, requests, error)
            finally:
                reset_later(self._limits.write_timeout)

        return handle

    async def _run(self, handler: Handler, requests: Any, call: Call) -> None:
        """Call `handler` in its own shape, unary or streaming."""
        behavior = _behavior(handler)
        if not handler.request_streaming:
            requests = await self._only(requests, call)
            if requests is None:
                return
        if handler.response_streaming:
            await behavior(requests, call.context)
        else:
            response = await behavior(requests, call.context)
            async with call_scope(call):
                await write(call.context, response, self._limits.write_timeout)

    async def _only(self, requests: AsyncIterator[Any], call: Call) -> Any:
        """The message of a unary call; None if cancelled."""
        async with call_scope(call):
            try:
                return await only_message(requests, self._limits.config_timeout)
            except (InputIdle, InvalidRequest):
                self._refused(call.method, "invalid")
                raise
        return None


async def only_message(requests: AsyncIterator[Any], seconds: float) -> Any:
    """The first of `requests`; raises `InputIdle` or `InvalidRequest`."""
    try:
        async with asyncio.timeout(seconds):
            first = await anext(requests, None)
    except TimeoutError:
        raise InputIdle(f"no message came within {seconds:g} s") from None
    if first is None:
        await cancel_may_come()
        raise InvalidRequest("message", "is missing: the call ended without one")
    return first


def _public(handler: Handler, calls: OpenCalls) -> Any:
    """A minimal handler for unauthenticated callers.

    Errors are neither traced nor logged.
    """

    async def handle(requests: Any, context: Context) -> None:
        taken = 0.0
        try:
            with calls.admit(context.peer()):
                async with asyncio.timeout(calls.budget.age):
                    await _answer(handler, requests, context)
            taken = STATUS_TIMEOUT
        except TooManyCalls as error:
            taken = STATUS_TIMEOUT
            await abort(context, grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
        except TimeoutError:
            taken = STATUS_TIMEOUT
            await abort(context, grpc.StatusCode.ABORTED, "open for as long as it may; call again")
        finally:
            reset_later(taken)

    return handle


async def _answer(handler: Handler, requests: Any, context: Context) -> None:
    behavior = _behavior(handler)
    if not handler.request_streaming:
        requests = await anext(requests, None)
        if requests is None:
            return
    if inspect.isasyncgenfunction(behavior):
        async for response in behavior(requests, context):
            await context.write(response)
    elif handler.response_streaming:
        await behavior(requests, context)
    else:
        await context.write(await behavior(requests, context))


def _behavior(handler: Handler) -> Any:
    return next(filter(None, (getattr(handler, shape) for shape in SHAPES)))
