"""The outgoing requests of one turn.

Kept for another attempt until the turn has started.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

from qwentts_client.errors import TextSourceError
from qwentts_client.text import Text, requests
from qwentts_client.v1 import tts_pb2

AHEAD = 16  # requests read from the text source before the server has received them


class Outbox:
    """A bounded queue of requests, replayable from the first on.

    Each `stream` begins anew. Belongs to one event loop. `failure`: what the text source has raised.
    """

    def __init__(self) -> None:
        self.failure: BaseException | None = None
        self.ended = False  # no request will follow
        self.over = asyncio.Event()  # no attempt reads any more
        self.call: Any = None  # the running attempt
        self._requests: deque[tts_pb2.SynthesizeRequest] = deque()
        self._dropped = 0  # requests that left the head of the queue
        self._sent = 0  # requests sent by the running attempt
        self._half_closed = False  # by the running attempt
        self._keep = True
        self._changed = asyncio.Event()

    @property
    def waiting(self) -> int:
        """Characters of text that the running attempt has not sent."""
        return sum(len(request.text.text) for request in list(self._requests)[self._sent - self._dropped :])

    async def pump(self, text: Text) -> None:
        """Put the requests for `text`.

        What it raises becomes `failure`, and ends the call.
        """
        source = requests(text)
        try:
            async for request in source:
                await self._room()
                self.put(request)
            self.end()
        except asyncio.CancelledError as error:
            if self.over.is_set():
                raise
            self.fail(_as_error("its text source was cancelled", error))
        except (GeneratorExit, StopIteration, StopAsyncIteration) as error:
            self.fail(_as_error(f"its text source raised {type(error).__name__}", error))
        except BaseException as error:  # raised again to the iterator of the turn
            self.fail(error)
        finally:
            await source.aclose()  # type: ignore[attr-defined]

    def put(self, request: tts_pb2.SynthesizeRequest) -> None:
        """Add a request, waiting for room; ignored after the end."""
        if not self.ended:
            self._requests.append(request)
            self._notify()

    def end(self) -> None:
        """Mark the end of the requests."""
        self.ended = True
        self._notify()

    def close(self) -> None:
        """Send nothing more."""
        self.over.set()
        self.end()

    def cancel(self, reason: str) -> bool:
        """Send a `Cancel` in place of all unsent requests.

        Returns False where the end has been sent already.
        """
        if self.over.is_set() or self._half_closed:
            return False
        while self._dropped + len(self._requests) > self._sent:
            self._requests.pop()
        self._requests.append(tts_pb2.SynthesizeRequest(cancel=tts_pb2.Cancel(reason=reason)))
        self.end()
        return True

    def drop_sent(self) -> None:
        """Drop the requests kept for another attempt."""
        self._keep = False

    async def stream(self) -> AsyncIterator[tts_pb2.SynthesizeRequest]:
        """All requests for one attempt; earlier attempts end."""
        self._sent = at = 0
        self._half_closed = False
        attempt = self.call
        while not self.over.is_set() and self.call is attempt:
            if at < self._dropped + len(self._requests):
                request = self._requests[at - self._dropped]
                at += 1
                self._taken(at)
                yield request
            elif self.ended:
                self._half_closed = True
                return
            else:
                await self._changed.wait()

    def _taken(self, count: int) -> None:
        self._sent = count
        while not self._keep and self._dropped < count:
            self._requests.popleft()
            self._dropped += 1
        self._notify()

    async def _room(self) -> None:
        while self._dropped + len(self._requests) - self._sent >= AHEAD:
            await self._changed.wait()

    def fail(self, error: BaseException) -> None:
        self.failure = error
        self.close()
        if self.call is not None:
            self.call.cancel()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _as_error(what: str, error: BaseException) -> TextSourceError:
    made = TextSourceError(f"the turn has ended, for {what}")
    made.__cause__ = error
    return made
