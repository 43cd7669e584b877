"""The server's process: from its start to its exit code, by signals."""

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Callable

from qwentts_grpc.rpc.tracing import Tracing
from qwentts_grpc.server.config import ServerConfig
from qwentts_grpc.server.ports import address
from qwentts_grpc.server.server import CLOSE_LIMIT, Server, first

EXIT_FAULT = 70  # EX_SOFTWARE of sysexits.h: a supervisor should start the process again
SLACK = 5.0  # seconds by which a stop may be late before the process ends as it is

log = logging.getLogger(__name__)


async def serve(config: ServerConfig, say: Callable[[str], None], tracing: Tracing | None = None) -> int:
    """Run a server until SIGTERM or SIGINT, and return the process's exit code; `say` takes lines for its user.

    Raises `CheckpointError` and OSError (a port is taken). A second signal hurries.
    """
    signals = Signals(config.drain_seconds + CLOSE_LIMIT + SLACK)
    server = Server(config, tracing)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, server.reload)
    port, side_port = await server.start()
    say(f"metrics on http://{address(config.metrics_host, side_port)}/metrics")
    try:
        if await first(server.load(), signals.stop.wait()) == 1:
            return 0
        say(f"serving on {address(config.host, port)}")
        if await first(server.watch(), signals.stop.wait()) == 0:
            return EXIT_FAULT
        await server.drain(signals.hurry)
        return 0
    finally:
        await server.close()


class Signals:
    """SIGTERM and SIGINT: the first asks to `stop`, the second to `hurry`; either way the process ends.

    `most`: seconds that an orderly stop takes at most. What is late is cut off by a thread, whatever the loop does.
    """

    def __init__(self, most: float) -> None:
        self._most = most
        self._late: threading.Timer | None = None
        self.stop = asyncio.Event()
        self.hurry = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._caught)

    def _caught(self) -> None:
        hurry = self.stop.is_set()
        (self.hurry if hurry else self.stop).set()
        if self._late is not None:
            self._late.cancel()
        self._late = threading.Timer(CLOSE_LIMIT + SLACK if hurry else self._most, _end)
        self._late.daemon = True
        self._late.start()


def _end() -> None:
    log.critical("the server did not stop in time; the process ends as it is")
    os._exit(EXIT_FAULT)
