"""Entry of a child process: `python -m qwentts_grpc.processes.worker FD`.

The supervisor's first message says which part it plays. The process ends with the connection to its supervisor.
"""

import asyncio
import logging
import os
import pickle
import signal
import socket
import sys

from engine.api.errors import CheckpointError
from qwentts_grpc.host import memory
from qwentts_grpc.processes import control
from qwentts_grpc.processes.peer import Peer
from qwentts_grpc.processes.role import Role
from qwentts_grpc.server.config import ServerConfig
from qwentts_grpc.server.process import EXIT_FAULT, one_line
from qwentts_grpc.telemetry import logs

EXIT_FATAL = 2  # another start would fail too
FIRST_MESSAGE = 30.0  # seconds

log = logging.getLogger(__name__)


def main() -> None:
    """Play the part that the supervisor names."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # of the whole group: the supervisor passes them on
        signal.signal(number, signal.SIG_IGN)
    memory.postpone_collections()
    end = socket.socket(fileno=int(sys.argv[1]))
    _leave(asyncio.run(_Worker().run(end)))


class _Worker:
    def __init__(self) -> None:
        self._peer = Peer(self._receive, lambda: _leave(EXIT_FAULT))
        self._started = asyncio.Event()
        self._start: control.Start | None = None
        self._role: Role | None = None
        self._early: list[tuple[int, object]] = []  # messages before there is a role

    async def run(self, end: socket.socket) -> int:
        """Run the role; return the exit code."""
        await self._peer.connect(end)
        async with asyncio.timeout(FIRST_MESSAGE):
            await self._started.wait()
        start = self._start
        assert start is not None
        logs.configure(start.log_level, start.log_format)  # type: ignore[arg-type]
        try:
            self._role = _role(start, self._peer)
            for number, message in self._early:
                self._role.receive(number, message)
            return await self._role.run()
        except (CheckpointError, OSError) as error:
            self._peer.send(control.Fault(one_line(error)))
            self._peer.close()
            await asyncio.sleep(0.1)  # for the message to leave
            return EXIT_FATAL

    def _receive(self, number: int, message: object) -> None:
        if isinstance(message, control.Start):
            self._start = message
            self._started.set()
        elif self._role is None:
            self._early.append((number, message))
        else:
            self._role.receive(number, message)


def _role(start: control.Start, peer: Peer) -> Role:
    """The part to play; an engine alone imports torch."""
    config: ServerConfig = pickle.loads(start.config)  # of the supervisor, over a pair of its own
    if start.role == "engine":
        from qwentts_grpc.processes.engine import EngineRole

        return EngineRole(start, config, peer)
    from qwentts_grpc.processes.front import FrontRole

    return FrontRole(start, config, peer)


def _leave(code: int) -> None:
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # without joining threads: one may hang in a device call


if __name__ == "__main__":
    main()
