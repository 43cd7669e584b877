"""The server's process from start to exit code, with signals."""

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Callable

from qwentts_grpc.host import memory
from qwentts_grpc.rpc.tracing import Tracing
from qwentts_grpc.server.config import ServerConfig
from qwentts_grpc.server.ports import address
from qwentts_grpc.server.server import Server
from qwentts_grpc.server.waits import CLOSE_LIMIT, first

EXIT_FAULT = 70  # EX_SOFTWARE of sysexits.h: a supervisor should start the process again
SLACK = 5.0  # seconds past an orderly stop's limit after which the process is ended

log = logging.getLogger(__name__)


async def serve(config: ServerConfig, print_line: Callable[[str], None], tracing: Tracing | None = None) -> int:
    """Run a server until a signal; return its exit code.

    `print_line` prints lines for the user. Raises `CheckpointError` and OSError (a port is taken). A second signal
    shortens the drain.
    """
    memory.postpone_collections()
    signals = Signals(config.drain_seconds + CLOSE_LIMIT + SLACK)
    server = Server(config, tracing)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, server.files.reload)
    port, side_port = await server.start()
    print_line(f"metrics on http://{address(config.metrics_host, side_port)}/metrics")
    try:
        if await first(server.load(memory.freeze_loaded), signals.stop.wait()) == 1:
            return 0
        print_line(f"serving on {address(config.host, port)}")
        if await first(server.watch(), signals.stop.wait()) == 0:
            return EXIT_FAULT
        await server.drain(signals.force)
        return 0
    finally:
        await server.close()


def one_line(error: Exception) -> str:
    """Message of an error in one line.

    Of one about a file without its number.
    """
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())


class Signals:
    """SIGTERM or SIGINT: the first sets `stop`, the second `force`.

    Either way the process ends. `most`: seconds of the longest orderly stop; past it a thread ends the process,
    whatever the loop does.
    """

    def __init__(self, most: float) -> None:
        self._most = most
        self._late: threading.Timer | None = None
        self.stop = asyncio.Event()
        self.force = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._caught)

    def _caught(self) -> None:
        force = self.stop.is_set()
        (self.force if force else self.stop).set()
        if self._late is not None:
            self._late.cancel()
        self._late = threading.Timer(CLOSE_LIMIT + SLACK if force else self._most, _end)
        self._late.daemon = True
        self._late.start()


def _end() -> None:
    log.critical("the server did not stop in time; the process ends as it is")
    os._exit(EXIT_FAULT)
