"""grpc.health.v1 without a lock: a slow watcher delays no other."""

import asyncio
from collections.abc import Iterable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from qwentts_grpc.rpc.call import Context

NAME = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
Response = Any  # health_pb2.HealthCheckResponse, whose package has no types
Status = int  # health_pb2.HealthCheckResponse.ServingStatus

SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3  # of ServingStatus
WRITE_TIMEOUT = 1.0  # seconds for a status to be accepted


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # its package has no types
    """One status for `services` plus the whole server ("").

    NOT_SERVING at first.
    """

    def __init__(self, services: Iterable[str]) -> None:
        self._services = frozenset(("", *services))
        self._status: Status = NOT_SERVING
        self._changed = asyncio.Event()

    def set(self, status: Status) -> None:
        """Set the status; open watches get it too."""
        self._status = status
        self._changed.set()
        self._changed = asyncio.Event()

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Context) -> Response:
        """Current status; NOT_FOUND for an unknown service."""
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no service of this name is here")
        return self._response(self._status)

    async def List(self, request: health_pb2.HealthListRequest, context: Context) -> Response:
        """Current status of each service."""
        return health_pb2.HealthListResponse(statuses=dict.fromkeys(self._services, self._response(self._status)))

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Context) -> None:
        """Current status, then every change.

        Raises TimeoutError where the caller does not read it.
        """
        last = None
        while True:
            changed, status = self._changed, self._status
            if request.service not in self._services:
                status = SERVICE_UNKNOWN
            if status != last:
                async with asyncio.timeout(WRITE_TIMEOUT):
                    await context.write(self._response(status))
            last = status
            await changed.wait()

    def _response(self, status: Status) -> Response:
        return health_pb2.HealthCheckResponse(status=status)
