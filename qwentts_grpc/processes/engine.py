"""Engine process: the step loops of one device, nothing else."""

import asyncio
import contextlib
import gc
import logging
from dataclasses import replace
from pathlib import Path

from engine.api.errors import EngineFailed
from engine.remote.server import EngineServer
from qwentts_grpc.host import memory
from qwentts_grpc.host.pauses import PauseWatcher
from qwentts_grpc.processes import control
from qwentts_grpc.processes.peer import Peer
from qwentts_grpc.server.admin_http import MetricsPage
from qwentts_grpc.server.config import ServerConfig
from qwentts_grpc.server.embedded import EmbeddedEngines
from qwentts_grpc.server.process import EXIT_FAULT
from qwentts_grpc.server.server import CLOSE_TIMEOUT, first
from qwentts_grpc.telemetry.metrics import ProcessMetrics

HEARD = 0.5  # seconds for all fronts to know of a drain
QUIET = 0.02  # seconds between two looks at open speeches while draining

log = logging.getLogger(__name__)


class EngineRole:
    """All checkpoints of one device behind a Unix socket."""

    def __init__(self, start: control.Start, config: ServerConfig, peer: Peer) -> None:
        device = config.devices[start.index]
        models = config.placed_on(device)
        self.config = replace(
            config, model=models[0], more_models=models[1:], engine=replace(config.engine, device=device)
        )
        self._path, self._peer = Path(start.sockets[0]), peer
        self._engines = EmbeddedEngines(self.config)
        self._metrics = ProcessMetrics()
        self._page = MetricsPage(self._metrics.registry, lambda: self._engines.measure(self._metrics))
        self._pauses = PauseWatcher(self._metrics.host.paused)
        self._server: EngineServer | None = None
        self._drain, self._force = asyncio.Event(), asyncio.Event()

    async def run(self) -> int:
        """Load, serve, drain."""
        if await first(self._engines.load(self._metrics), self._drain.wait()) == 1:
            return 0
        engines = self._engines.engines
        server = self._server = EngineServer(engines, self.config.engine)
        gc.collect()
        gc.freeze()
        await self._server.start(self._path)
        self._pauses.start()
        self._housekeeping = asyncio.create_task(memory.keep_small(lambda: not server.speeches))
        self._peer.send(control.Ready(True, ", ".join(engine.card.name for engine in engines)))
        try:
            if await first(self._engines.watch(), self._drain.wait()) == 1:
                await self._drained(self._server)
                return 0
        except EngineFailed:
            return EXIT_FAULT
        finally:
            await self._close(self._server)
        return EXIT_FAULT

    def receive(self, number: int, message: object) -> None:
        """Take a message of the supervisor."""
        match message:
            case control.Ping():
                self._peer.send(control.Done(), number)
            case control.Scrape():
                self._answering = asyncio.create_task(self._scraped(number))
            case control.Drain():
                self._drain.set()
            case control.Force():
                self._force.set()

    async def _scraped(self, number: int) -> None:
        self._peer.send(control.Page((await self._page()).body), number)

    async def _drained(self, server: EngineServer) -> None:
        server.stop_accepting()
        if server.connected:
            await asyncio.sleep(HEARD)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.config.drain_seconds):
                while server.speeches and not self._force.is_set():
                    await asyncio.sleep(QUIET)

    async def _close(self, server: EngineServer) -> None:
        await server.close()
        closing = asyncio.create_task(self._engines.close())
        await asyncio.wait((closing,), timeout=CLOSE_TIMEOUT)
