"""Page of metrics of all processes."""

import asyncio
from collections.abc import Callable, Sequence

from qwentts_grpc.processes import control
from qwentts_grpc.processes.child import Child
from qwentts_grpc.server.admin_http import KeptPage
from qwentts_grpc.telemetry.merged_page import MergedPages

PATIENCE = 2.0  # seconds for a process to render its page; then its last one stands


class MergedPage(KeptPage):
    """Pages of all processes, merged on a thread.

    `own`: the supervisor's.
    """

    def __init__(self, children: Sequence[Child], own: Callable[[], bytes]) -> None:
        super().__init__()
        self._children, self._own = children, own
        self._pages = MergedPages()

    def ended(self, child: Child) -> None:
        """Keep the counts of a process that has ended."""
        self._pages.ended(child.name)

    async def _make(self) -> bytes:
        pages = await asyncio.gather(*(self._page(child) for child in self._children))
        return await asyncio.to_thread(self._merged, pages)

    def _merged(self, pages: Sequence[bytes | None]) -> bytes:
        self._pages.update("supervisor", self._own())
        for child, page in zip(self._children, pages, strict=True):
            if page is not None:
                self._pages.update(child.name, page)
        return self._pages.render()

    async def _page(self, child: Child) -> bytes | None:
        try:
            reply = await child.ask(control.Scrape(), PATIENCE)
        except (TimeoutError, ConnectionError):
            return None
        return reply.body if isinstance(reply, control.Page) else None
