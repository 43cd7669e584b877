"""Engine process: the step loops of one device, nothing else."""

import asyncio
import contextlib
import logging
from dataclasses import replace
from pathlib import Path

from engine.api.errors import EngineFailed
from engine.remote.server import EngineServer
from qwentts_grpc.host import memory
from qwentts_grpc.host.pauses import PauseWatcher
from qwentts_grpc.processes import control
from qwentts_grpc.processes.peer import Peer
from qwentts_grpc.processes.role import Role
from qwentts_grpc.server.admin_http import MetricsPage
from qwentts_grpc.server.config import ServerConfig
from qwentts_grpc.server.embedded import EmbeddedEngines
from qwentts_grpc.server.process import EXIT_FAULT
from qwentts_grpc.server.waits import CLOSE_TIMEOUT, first
from qwentts_grpc.telemetry.metrics import ProcessMetrics

HEARD = 0.5  # seconds for all fronts to know of a drain
QUIET = 0.02  # seconds between two looks at open speeches while draining

log = logging.getLogger(__name__)


class EngineRole(Role):
    """All checkpoints of one device behind a Unix socket."""

    def __init__(self, start: control.Start, config: ServerConfig, peer: Peer) -> None:
        super().__init__(peer)
        device = config.devices[start.index]
        models = config.placed_on(device)
        self.config = replace(
            config, model=models[0], more_models=models[1:], engine=replace(config.engine, device=device)
        )
        self._path = Path(start.sockets[0])
        self._engines = EmbeddedEngines(self.config)
        self._metrics = ProcessMetrics()
        self._page = MetricsPage(self._metrics.registry, lambda: self._engines.measure(self._metrics))
        self._pauses = PauseWatcher(self._metrics.host.paused)

    @property
    def page(self) -> MetricsPage:
        """Metrics of the engines, of their process."""
        return self._page

    async def run(self) -> int:
        """Load, serve, drain."""
        if await first(self._engines.load(self._metrics), self.drained.wait()) == 1:
            return 0
        server = EngineServer(self._engines.engines, self.config.engine)
        memory.freeze_loaded()
        await server.start(self._path)
        self._pauses.start()
        self.begin(memory.keep_small(lambda: not server.speeches))
        self.peer.send(control.Ready(True))
        try:
            if await first(self._engines.watch(), self.drained.wait()) == 1:
                await self._drain(server)
                return 0
        except EngineFailed:
            return EXIT_FAULT
        finally:
            await self._close(server)
        return EXIT_FAULT

    async def _drain(self, server: EngineServer) -> None:
        server.stop_accepting()
        if server.connected:
            await asyncio.sleep(HEARD)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.config.drain_seconds):
                while server.speeches and not self.forced.is_set():
                    await asyncio.sleep(QUIET)

    async def _close(self, server: EngineServer) -> None:
        await server.close()
        closing = asyncio.create_task(self._engines.close())
        await asyncio.wait((closing,), timeout=CLOSE_TIMEOUT)
