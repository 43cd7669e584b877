"""Page of metrics of all processes."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from http import HTTPStatus

from prometheus_client import CONTENT_TYPE_LATEST

from qwentts_grpc.processes import control
from qwentts_grpc.processes.child import Child
from qwentts_grpc.server.admin_http import Response
from qwentts_grpc.telemetry.merged_page import MergedPages

PATIENCE = 2.0  # seconds for a process to render its page; then its last one stands

log = logging.getLogger(__name__)


class MergedPage:
    """Pages of `children` and of the supervisor (`own`), merged on a thread."""

    def __init__(self, children: Sequence[Child], own: Callable[[], bytes]) -> None:
        self._children, self._own = children, own
        self._pages = MergedPages()
        self._lock = asyncio.Lock()

    async def __call__(self) -> Response:
        """The page; one at a time is made."""
        async with self._lock:
            pages = await asyncio.gather(*(self._page(child) for child in self._children))
            self._pages.update("supervisor", self._own())
            for child, page in zip(self._children, pages, strict=True):
                if page is not None:
                    self._pages.update(child.name, page)
            body = await asyncio.to_thread(self._pages.render)
        return Response(HTTPStatus.OK, body, CONTENT_TYPE_LATEST)

    def ended(self, child: Child) -> None:
        """Keep the counts of a process that has ended."""
        self._pages.ended(child.name)

    async def _page(self, child: Child) -> bytes | None:
        try:
            reply = await child.ask(control.Scrape(), PATIENCE)
        except (TimeoutError, ConnectionError):
            return None
        return reply.body if isinstance(reply, control.Page) else None
