"""Front process: gRPC, access, encodings; no model."""

import asyncio
import logging
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from qwentts_grpc.admission.shared_counts import SharedCounts
from qwentts_grpc.processes import control
from qwentts_grpc.processes.peer import Peer
from qwentts_grpc.processes.remote_engines import RemoteEngines
from qwentts_grpc.rpc.tracing import OpenTelemetry
from qwentts_grpc.server.config import ServerConfig
from qwentts_grpc.server.server import Server, first

TELL = 1.0  # seconds for the other fronts to hear of a voice

log = logging.getLogger(__name__)


class FrontRole:
    """A `Server` that shares its port with the other fronts."""

    def __init__(self, start: control.Start, config: ServerConfig, peer: Peer) -> None:
        self._peer = peer
        self._source = RemoteEngines([Path(path) for path in start.sockets], len(config.models), self._available)
        counts = SharedCounts.open(Path(start.counts), start.index)
        tracing = OpenTelemetry() if start.tracing else None
        self._server = Server(config, tracing, self._source, self._voices_changed, counts)
        self._drain, self._force = asyncio.Event(), asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> int:
        """Serve until the drain."""
        await self._server.listen()
        try:
            if await first(self._server.load(), self._drain.wait()) == 1:
                return 0
            self._peer.send(control.Ready(True))
            await self._drain.wait()
            await self._server.drain(self._force)
        finally:
            await self._server.close()
        return 0

    def receive(self, number: int, message: object) -> None:
        """Take a message of the supervisor."""
        match message:
            case control.Ping():
                self._peer.send(control.Done(), number)
            case control.Scrape():
                self._begin(self._scraped(number))
            case control.VoicesChanged():
                self._begin(self._refreshed(number))
            case control.Drain():
                self._drain.set()
            case control.Force():
                self._force.set()
            case control.Reload():
                self._server.reload()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _scraped(self, number: int) -> None:
        self._peer.send(control.Page((await self._server.page()).body), number)

    async def _refreshed(self, number: int) -> None:
        if self._server.voices is not None:
            try:
                await asyncio.to_thread(self._server.voices.refresh)
            except OSError as error:
                log.warning("created voices are not refreshed: %s", error)
        self._peer.send(control.Done(), number)

    async def _voices_changed(self) -> None:
        """Tell the other fronts; wait until they know."""
        try:
            await self._peer.ask(control.VoicesChanged(), TELL)
        except (TimeoutError, ConnectionError):
            log.warning("another front has not heard of a voice yet")

    def _available(self, available: bool) -> None:
        if self._server.state.serving:
            self._server.set_ready(available)
            self._peer.send(control.Ready(available))
