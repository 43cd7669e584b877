"""The HTTP process on a thread, in front of a scripted server or of a real one."""

import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
import uvicorn

from qwentts_client import AsyncClient
from qwentts_grpc.http.callers import CHANNEL_OPTIONS
from qwentts_grpc.http.process import listening, server_config
from qwentts_grpc.http.settings import Settings
from tests.client.background import Background
from tests.client.fake import Fake


class Door:
    """The process's application in an event loop on a thread; `url` is where it listens."""

    def __init__(self, server: str, **settings: Any) -> None:
        client = AsyncClient(server, retry_for=0.0, options=CHANNEL_OPTIONS)
        self._settings = Settings(client, port=0, **settings)
        self._socket = listening(self._settings)
        self._server = uvicorn.Server(server_config(self._settings))
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> "Door":
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],))
        self._thread.start()
        while not self._server.started:
            time.sleep(0.005)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()

    def connected(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(("127.0.0.1", self.port), 10)


@pytest.fixture
def fake() -> Iterator[Fake]:
    with Background() as fake:
        yield fake


@pytest.fixture
def door(fake: Fake) -> Iterator[Door]:
    with Door(fake.address, drain_seconds=1.0) as door:
        yield door


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def speaking() -> AsyncIterator[Door]:
    """In front of a real server with the embedded voice."""
    from engine.checkpoint.embedded import embedded_checkpoint  # the frameworks' environment has no engine
    from tests.service.conftest import serving

    async with serving(embedded_checkpoint(), max_speeches=4, max_text_characters=2_000) as running:
        with Door(running.address) as door:
            yield door
