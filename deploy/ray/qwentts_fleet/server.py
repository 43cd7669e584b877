"""The Ray actor of one server."""

import asyncio
import urllib.request
from dataclasses import dataclass

import ray

from qwentts_fleet.load import Load, parse
from qwentts_fleet.process import Supervised
from qwentts_fleet.settings import Settings

METRICS_TIMEOUT = 1.0


@dataclass(frozen=True, slots=True)
class ServerState:
    """One server at one moment.

    `address` is empty while it does not serve.
    """

    address: str
    node: str
    pid: int
    restarts: int
    load: Load | None


class ServerActor:
    """One server on this node, on its GPUs.

    Ray chooses these.
    """

    def __init__(self, settings: Settings) -> None:
        host = settings.host or ray.util.get_node_ip_address()
        addresses = ["--host", host, "--port", "0", "--metrics-port", "0"]
        self._server = Supervised([*settings.command, "serve", *addresses, *settings.flags()], settings.drain)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to run the server."""
        self._task = self._task or asyncio.create_task(self._server.run())

    async def state(self) -> ServerState:
        """Address with load.

        No load where the metrics cannot be read.
        """
        server, node = self._server, ray.get_runtime_context().get_node_id()
        load = await asyncio.to_thread(_load, server.metrics) if server.address else None
        return ServerState(server.address, node, server.pid, server.restarts, load)

    async def restart(self) -> None:
        """Drain the server, then start it anew."""
        await self._server.restart()

    async def stop(self) -> None:
        """Drain the server, then end it."""
        await self._server.stop()


def _load(url: str) -> Load | None:
    try:
        with urllib.request.urlopen(url, timeout=METRICS_TIMEOUT) as page:
            return parse(page.read().decode())
    except (OSError, ValueError):
        return None
