"""Bytes that are no message: the caller's mistake, where gRPC would report a fault of the server and log a trace."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from engine.errors import InvalidRequest
from qwentts_grpc.auth import Handler
from qwentts_grpc.calls import Call, Context, answering

OURS = "/qwentts.v1."

Parse = Callable[[bytes], Any]


class Strict(grpc.aio.ServerInterceptor):
    """Refuses what cannot be parsed with INVALID_ARGUMENT, in the calls of our own services.

    `unreadable` hears of each method whose only message is refused so: its call never reaches the service.
    """

    def __init__(self, unreadable: Callable[[str], None]) -> None:
        self._unreadable = unreadable

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """The call's own handler, with another parser."""
        handler = await continuation(handler_call_details)
        if handler is None or not handler_call_details.method.startswith(OURS):
            return handler
        return self._strict(handler, handler_call_details.method.rpartition("/")[2])

    def _strict(self, handler: Handler, method: str) -> Handler:
        parse, serialize = _parser(handler.request_deserializer), handler.response_serializer
        if handler.stream_stream:
            return grpc.stream_stream_rpc_method_handler(handler.stream_stream, parse, serialize)
        if handler.stream_unary:
            return grpc.stream_unary_rpc_method_handler(handler.stream_unary, parse, serialize)
        late = self._late(handler.unary_stream or handler.unary_unary, parse, method)
        if handler.unary_stream:
            return grpc.unary_stream_rpc_method_handler(late, None, serialize)
        return grpc.unary_unary_rpc_method_handler(late, None, serialize)

    def _late(self, behavior: Callable[[Any, Context], Awaitable[Any]], parse: Parse, method: str) -> Any:
        """A single message is parsed within the call, which can then say why it is refused."""

        async def handle(data: bytes, context: Context) -> Any:
            async with answering(Call(method, context)):
                try:
                    request = parse(data)
                except InvalidRequest:
                    self._unreadable(method)
                    raise
            return await behavior(request, context)

        return handle


def _parser(parse: Parse) -> Parse:
    def strict(data: bytes) -> Any:
        try:
            return parse(data)
        except DecodeError as error:
            raise InvalidRequest("message", "is not one of the contract, or holds text that is not UTF-8") from error

    return strict
