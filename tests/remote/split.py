"""An engine over a fake device, behind a real Unix socket, beside a client of it in the same event loop."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.remote.client import ProcessClient
from engine.remote.messages import QueueWait, Wait
from engine.remote.replicas import ReplicatedEngine
from engine.remote.server import EngineServer
from tests.engine.drive import Flavour
from tests.engine.speaking import until
from tests.engine.test_loop import Rig, rig


@dataclass
class Split:
    """An engine, its server, a client, and the client's face of the engine."""

    rig: Rig
    path: Path
    server: EngineServer
    client: ProcessClient
    engine: ReplicatedEngine
    changes: list[bool] = field(default_factory=list)  # whether the process took speeches, at each change

    @property
    def unread(self) -> int:
        """Frames that count as untaken in the engine."""
        return self.rig.engine._outboxes.held

    async def idle(self) -> None:
        """Wait until the server knows no speech; nothing may be left of any."""
        clients = self.server._clients
        if self.client.accepting:  # what was sent has come before the answer
            await self.client.ask(QueueWait(self.engine.card.name, ""), Wait, 5.0)
        await until(lambda: not any(each._speeches or each._relays or each._questions for each in clients))
        assert not self.client._speeches and not self.client._questions
        assert self.unread == 0
        assert self.server.speeches == 0
        await until(lambda: self.rig.engine.state().blocks_used == 0)


@asynccontextmanager
async def connected(path: Path, changes: list[bool] | None = None) -> AsyncIterator[ProcessClient]:
    """A client of the process at `path`, once that takes speeches."""
    client = ProcessClient(path, lambda: changes.append(client.accepting) if changes is not None else None)
    running = asyncio.create_task(client.run())
    try:
        await until(lambda: client.accepting)
        yield client
    finally:
        running.cancel()
        await asyncio.wait((running,))


@asynccontextmanager
async def split(flavour: Flavour = "at once", kind: str = "1.7B-CustomVoice", **settings: Any) -> AsyncIterator[Split]:
    """Afterwards neither side holds anything, nor has left a task behind."""
    with tempfile.TemporaryDirectory() as folder:  # a path of a socket is short
        path = Path(folder) / "engine"
        async with rig(flavour, kind, **settings) as made:
            server = EngineServer([made.engine], made.engine._config)
            await server.start(path)
            changes: list[bool] = []
            try:
                async with connected(path, changes) as client:
                    halves = Split(made, path, server, client, replicated(client), changes)
                    yield halves
                    await halves.idle()
            finally:
                await server.close()
                await until(lambda: not server._clients)


def replicated(*clients: ProcessClient) -> ReplicatedEngine:
    """The engine that these processes have in common."""
    (model,) = clients[0].models.values()
    return ReplicatedEngine(model, clients)
