"""Interceptor for the `grpc_server_started/handled` counters.

The names are those of gRPC servers in other languages.
"""

import asyncio
from typing import Any

import grpc
from prometheus_client import CollectorRegistry, Counter

from qwentts_grpc.rpc.call import Context, code_of_cut
from qwentts_grpc.rpc.interceptor import METHODS, UNKNOWN, Handler, ServiceInterceptor, around, named

ATTEMPTS = "grpc-previous-rpc-attempts"
NUMBERED = {code.value[0]: code for code in grpc.StatusCode}


class CallMetricsInterceptor(ServiceInterceptor):
    """Counts calls at start, then by status at the end.

    Must be the outermost interceptor, because others may refuse a call. A call that gRPC itself refuses, for the size
    of its only message or of its metadata, is not counted.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("grpc_service", "grpc_method")
        self._started = Counter("grpc_server_started", "Calls that began.", labels, registry=registry)
        self._handled = Counter(
            "grpc_server_handled", "Calls that ended, by status.", (*labels, "grpc_code"), registry=registry
        )
        self._retries = Counter("tts_retries", "Calls that a client's retry policy sent again.", registry=registry)
        for names in (*sorted(METHODS), (UNKNOWN, UNKNOWN)):
            self._started.labels(*names)
            for code in grpc.StatusCode:
                self._handled.labels(*names, code.name)

    def changed(self, handler: Handler, details: grpc.HandlerCallDetails) -> Handler:
        """`handler`, counted."""
        if ATTEMPTS in dict(details.invocation_metadata or ()):
            self._retries.inc()
        service, method = named(details.method)
        return around(handler, lambda behavior: self._counted(behavior, service, method))

    def _counted(self, behavior: Any, service: str, method: str) -> Any:
        async def handle(request: Any, context: Context) -> Any:
            self._started.labels(service, method).inc()
            cut = False
            try:
                return await behavior(request, context)
            except asyncio.CancelledError:
                cut = True
                raise
            finally:
                ended_by_caller = (cut and context.code() is None) or context.cancelled()
                code = code_of_cut(context) if ended_by_caller else _code(context)
                self._handled.labels(service, method, code.name).inc()

        return handle


def _code(context: Context) -> grpc.StatusCode:
    """Status of a call ended by the server."""
    code: Any = context.code()  # as set; a number where it was not
    return code if isinstance(code, grpc.StatusCode) else NUMBERED[code or 0]
