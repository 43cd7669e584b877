"""Base of the interceptors for the contract's services."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from qwentts_client.v1 import tts_pb2

SHAPES = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
OURS = "/qwentts.v1."
UNKNOWN = "unknown"
Handler = Any  # grpc.RpcMethodHandler, which has type parameters for type checkers alone


METHODS = frozenset(
    (service.full_name, method.name)
    for service in tts_pb2.DESCRIPTOR.services_by_name.values()
    for method in service.methods
)


def named(path: str) -> tuple[str, str]:
    """Service, method of a path, for labels or log lines.

    Both "unknown" where the contract has no such method.
    """
    service, _, method = path.removeprefix("/").partition("/")
    return (service, method) if (service, method) in METHODS else (UNKNOWN, UNKNOWN)


class ServiceInterceptor(grpc.aio.ServerInterceptor, ABC):
    """Changes the handlers of the contract's services only."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """`changed(handler)`, or the original handler."""
        handler = await continuation(handler_call_details)
        if handler is None or not handler_call_details.method.startswith(OURS):
            return handler
        return self.changed(handler, handler_call_details)

    @abstractmethod
    def changed(self, handler: Handler, details: grpc.HandlerCallDetails) -> Handler:
        """The replacement for `handler`."""


def around(handler: Handler, wrap: Callable[[Any], Any]) -> Handler:
    """`handler` with its behaviour wrapped."""
    shape = next(shape for shape in SHAPES if getattr(handler, shape))
    make = getattr(grpc, f"{shape}_rpc_method_handler")
    return make(wrap(getattr(handler, shape)), handler.request_deserializer, handler.response_serializer)
