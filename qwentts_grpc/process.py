"""The server's process: from its start to its exit code, by signals."""

import asyncio
import signal
from collections.abc import Callable

from qwentts_grpc.server import Server, ServerConfig, address, first
from qwentts_grpc.tracing import Tracing

EXIT_FAULT = 70  # EX_SOFTWARE of sysexits.h: a supervisor should start the process again


async def serve(config: ServerConfig, say: Callable[[str], None], tracing: Tracing | None = None) -> int:
    """Run a server until SIGTERM or SIGINT, and return the process's exit code; `say` takes lines for its user.

    Raises `CheckpointError` and OSError (a port is taken). A second signal hurries.
    """
    signals = Signals()
    server = Server(config, tracing)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, server.reload)
    port, side_port = await server.start()
    say(f"metrics on http://{address(config.host, side_port)}/metrics")
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
    """SIGTERM and SIGINT: the first asks to `stop`, the second to `hurry`."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.hurry = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._caught)

    def _caught(self) -> None:
        (self.hurry if self.stop.is_set() else self.stop).set()
