"""Interceptor: undecodable requests become INVALID_ARGUMENT instead of INTERNAL.

gRPC alone would report a fault of the server and log a trace.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from engine.api.errors import InvalidRequest
from qwentts_grpc.rpc.call import Call, Context, call_scope
from qwentts_grpc.rpc.interceptor import Handler, ServiceInterceptor

Parse = Callable[[bytes], Any]


class DecodeErrorInterceptor(ServiceInterceptor):
    """Refuses undecodable requests to the contract's services.

    `refused(method, reason)` is called for a refused unary request, which never reaches the service.
    """

    def __init__(self, refused: Callable[[str, str], None]) -> None:
        self._refused = refused

    def changed(self, handler: Handler, details: grpc.HandlerCallDetails) -> Handler:
        """`handler` with its own request parser."""
        method = details.method.rpartition("/")[2]
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
        """A handler that parses inside the call.

        There it can abort with details.
        """

        async def handle(data: bytes, context: Context) -> Any:
            async with call_scope(Call(method, context)):
                try:
                    request = parse(data)
                except InvalidRequest:
                    self._refused(method, "invalid")
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
