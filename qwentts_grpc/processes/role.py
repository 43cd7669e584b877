"""Part of a child process.

What fronts and engines have in common.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import Any

from qwentts_grpc.processes import control
from qwentts_grpc.processes.peer import Peer
from qwentts_grpc.server.admin_http import MetricsPage


class Role(ABC):
    """What a child process does.

    `drained` is set to end it in order, `forced` to end it soon.
    """

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.drained, self.forced = asyncio.Event(), asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    @abstractmethod
    def page(self) -> MetricsPage:
        """Metrics of this process."""

    @abstractmethod
    async def run(self) -> int:
        """Serve to the end; return the exit code.

        Raises `CheckpointError` and OSError where another start would fail too.
        """

    def receive(self, number: int, message: object) -> None:
        """Take a message of the supervisor."""
        match message:
            case control.Ping():
                self.peer.send(control.Done(), number)
            case control.Scrape():
                self.begin(self._scraped(number))
            case control.Drain():
                self.drained.set()
            case control.Force():
                self.forced.set()

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` beside the rest."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _scraped(self, number: int) -> None:
        self.peer.send(control.Page((await self.page()).body), number)
