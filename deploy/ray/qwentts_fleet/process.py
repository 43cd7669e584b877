"""One server process, started again whenever it ends by itself."""

import asyncio
import contextlib
import ctypes
import logging
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0  # seconds before a new start
SLACK = 20.0  # seconds past its own drain after which a server is killed
PR_SET_PDEATHSIG = 1
ADDRESSES = {"metrics on ": "metrics", "serving on ": "address"}

_libc = ctypes.CDLL(None)
log = logging.getLogger(__name__)


class Supervised:
    """Keeps one server running until `stop`.

    `address`: HOST:PORT while it serves, else empty; `metrics`: the URL of its metrics; `restarts`: starts after the
    first one. The server gets SIGTERM when this process dies, so that its open turns end well.
    """

    def __init__(self, command: Sequence[str], drain: float) -> None:
        """`drain`: seconds that the server's own drain takes at most."""
        self._command, self._drain = list(command), drain
        self._process: Process | None = None
        self._stopping = False
        self.address = self.metrics = ""
        self.restarts = 0

    @property
    def pid(self) -> int:
        """Process id of the server, or 0."""
        return 0 if self._process is None else self._process.pid

    async def run(self) -> None:
        """Restart the server whenever it ends, until `stop`."""
        wait = FIRST_WAIT
        while not self._stopping:
            served = await self._once()
            wait = FIRST_WAIT if served else min(2 * wait, LONGEST_WAIT)
            if not self._stopping:
                self.restarts += 1
                await asyncio.sleep(wait)

    async def stop(self) -> None:
        """Drain the server; await its end.

        Past its time it is killed.
        """
        self._stopping = True
        await self._end()

    async def restart(self) -> None:
        """Drain the server; `run` starts it again."""
        await self._end()

    async def _end(self) -> None:
        process = self._process
        self.address = ""  # it refuses new turns from now on
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), self._drain + SLACK)
            except TimeoutError:
                log.warning("the server did not end in time and is killed")
                process.kill()

    async def _once(self) -> bool:
        """Run it to its end; whether it ever served."""
        self._process = await asyncio.create_subprocess_exec(*self._command, stdout=PIPE, preexec_fn=die_with_parent)
        assert self._process.stdout is not None
        served = False
        async for line in self._process.stdout:
            self._read(line.decode(errors="replace").strip())
            served |= bool(self.address)
        code = await self._process.wait()
        self._process, self.address, self.metrics = None, "", ""
        log.warning("the server ended with code %d", code)
        return served

    def _read(self, line: str) -> None:
        for beginning, name in ADDRESSES.items():
            if line.startswith(beginning):
                setattr(self, name, line.removeprefix(beginning))


def die_with_parent() -> None:
    """Arrange for SIGTERM at the death of the parent.

    Runs in the child.
    """
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
