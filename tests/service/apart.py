"""Engines behind a Unix socket, in the server's own process: the split form without its processes."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from engine.engine import Engine
from engine.remote.replicas import ReplicatedEngine
from engine.remote.server import EngineServer
from qwentts_grpc.processes.remote_engines import RemoteEngines
from qwentts_grpc.server.config import ServerConfig
from qwentts_grpc.server.embedded import EmbeddedEngines
from qwentts_grpc.telemetry.metrics import Metrics


class EnginesApart:
    """An `EngineSource`; all metrics are the server's own."""

    def __init__(self, config: ServerConfig) -> None:
        self._folder = tempfile.TemporaryDirectory()  # a path of a socket is short
        self._path = Path(self._folder.name) / "engine"
        self._config, self._embedded = config, EmbeddedEngines(config)
        self._remote = RemoteEngines([self._path], len(config.models), lambda available: None)
        self._server: EngineServer | None = None

    @property
    def engines(self) -> list[Engine]:
        """Those behind the socket."""
        return self._embedded.engines

    async def load(self, metrics: Metrics) -> Sequence[ReplicatedEngine]:
        """Build and serve the engines; connect."""
        self._server = EngineServer(await self._embedded.load(metrics), self._config.engine)
        await self._server.start(self._path)
        return await self._remote.load(metrics)

    async def watch(self) -> NoReturn:
        """Wait until an engine fails."""
        await self._embedded.watch()

    def measure(self, metrics: Metrics) -> None:
        """Set the gauges of the engines."""
        self._embedded.measure(metrics)

    async def close(self) -> None:
        """Close the connection, then the engines."""
        await self._remote.close()
        if self._server is not None:
            await self._server.close()
        await self._embedded.close()
        self._folder.cleanup()
