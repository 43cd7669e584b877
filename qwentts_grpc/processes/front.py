"""Front process: gRPC, access, encodings; no model."""

import asyncio
import logging
from pathlib import Path

from qwentts_grpc.admission.shared_counts import SharedCounts
from qwentts_grpc.host import memory
from qwentts_grpc.processes import control
from qwentts_grpc.processes.peer import Peer
from qwentts_grpc.processes.remote_engines import RemoteEngines
from qwentts_grpc.processes.role import Role
from qwentts_grpc.rpc.tracing import OpenTelemetry
from qwentts_grpc.server.admin_http import MetricsPage
from qwentts_grpc.server.config import ServerConfig
from qwentts_grpc.server.server import Server
from qwentts_grpc.server.waits import first

TELL = 1.0  # seconds for the other fronts to hear of a voice

log = logging.getLogger(__name__)


class FrontRole(Role):
    """A `Server` that shares its port with the other fronts."""

    def __init__(self, start: control.Start, config: ServerConfig, peer: Peer) -> None:
        super().__init__(peer)
        source = RemoteEngines([Path(path) for path in start.sockets], len(config.models), self._available)
        counts = SharedCounts.open(Path(start.counts), start.index)
        tracing = OpenTelemetry() if start.tracing else None
        self._server = Server(config, tracing, source, self._voices_changed, counts)

    @property
    def page(self) -> MetricsPage:
        """Metrics of the server's calls."""
        return self._server.page

    async def run(self) -> int:
        """Serve until the drain."""
        await self._server.listen()
        try:
            if await first(self._server.load(memory.freeze_loaded), self.drained.wait()) == 1:
                return 0
            self.peer.send(control.Ready(True))
            await self.drained.wait()
            await self._server.drain(self.forced)
        finally:
            await self._server.close()
        return 0

    def receive(self, number: int, message: object) -> None:
        """Take a message of the supervisor."""
        match message:
            case control.VoicesChanged():
                self.begin(self._refreshed(number))
            case control.Reload():
                self._server.files.reload()
            case _:
                super().receive(number, message)

    async def _refreshed(self, number: int) -> None:
        if self._server.voices is not None:
            try:
                await asyncio.to_thread(self._server.voices.refresh)
            except OSError as error:
                log.warning("created voices are not refreshed: %s", error)
        self.peer.send(control.Done(), number)

    async def _voices_changed(self) -> None:
        """Notify the other fronts; await their replies."""
        try:
            await self.peer.ask(control.VoicesChanged(), TELL)
        except (TimeoutError, ConnectionError):
            log.warning("another front has not heard of a voice yet")

    def _available(self, available: bool) -> None:
        if self._server.state.serving:
            self._server.set_ready(available)
            self.peer.send(control.Ready(available))
