"""A child process, from the supervisor's side."""

import asyncio
import logging
import socket
import sys
from collections.abc import Callable

from qwentts_grpc.processes import control
from qwentts_grpc.processes.peer import Peer
from qwentts_grpc.telemetry import logs

WORKER = "qwentts_grpc.processes.worker"
PING = 1.0  # seconds between two signs of life

log = logging.getLogger(__name__)


class Child:
    """One front or engine; started again by `run`.

    `start` makes its first message; `patience`: seconds without a sign of life, once it is ready, after which it is
    killed; `changed` is called when `ready` changes; `asked` gets its questions.
    """

    def __init__(
        self,
        start: control.Start,
        patience: float,
        changed: Callable[[], None],
        asked: Callable[["Child", int, object], None],
    ) -> None:
        self.name = f"{start.role}-{start.index}"
        self.ready = False
        self.was_ready = False  # since its start
        self.fault: control.Fault | None = None
        self._start, self._patience, self._changed, self._asked = start, patience, changed, asked
        self._process: asyncio.subprocess.Process | None = None
        self._peer: Peer | None = None

    @property
    def pid(self) -> int | None:
        """Process id, while it runs."""
        return None if self._process is None else self._process.pid

    @property
    def index(self) -> int:
        """Its number among those of its role."""
        return self._start.index

    @property
    def role(self) -> str:
        """Its part: front or engine."""
        return self._start.role

    async def run(self) -> int:
        """Start the process; return its exit code."""
        ours, theirs = socket.socketpair()
        self.was_ready, self.fault = False, None
        self._peer = Peer(self._receive)
        out, err = logs.streams()
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", WORKER, str(theirs.fileno())),
                pass_fds=(theirs.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        await self._peer.connect(ours)
        self._peer.send(self._start)
        watching = asyncio.create_task(self._watch(self._peer))
        try:
            return await self._process.wait()
        finally:
            watching.cancel()
            self._peer.close()
            self._peer = self._process = None
            self._set_ready(False)

    def send(self, message: object, number: int = 0) -> None:
        """Send a message, if it runs."""
        if self._peer is not None:
            self._peer.send(message, number)

    async def ask(self, question: object, seconds: float) -> object:
        """The reply; raises TimeoutError, ConnectionError."""
        if self._peer is None:
            raise ConnectionError(f"{self.name} does not run")
        return await self._peer.ask(question, seconds)

    def kill(self) -> None:
        """End the process at once."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def _watch(self, peer: Peer) -> None:
        """Kill a process that shows no sign of life."""
        while True:
            await asyncio.sleep(PING)
            if self.was_ready:
                try:
                    await peer.ask(control.Ping(), self._patience)
                except TimeoutError:
                    log.critical("%s shows no sign of life for %g s; it is killed", self.name, self._patience)
                    return self.kill()
                except ConnectionError:
                    return

    def _receive(self, number: int, message: object) -> None:
        match message:
            case control.Ready(ready):
                self.was_ready = self.was_ready or ready
                self._set_ready(ready)
            case control.Fault():
                self.fault = message
            case _:
                self._asked(self, number, message)

    def _set_ready(self, ready: bool) -> None:
        if self.ready != ready:
            self.ready = ready
            self._changed()
