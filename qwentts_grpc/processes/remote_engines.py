"""Engines of a front: those of all engine processes."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from engine.remote.client import ProcessClient
from engine.remote.replicas import ReplicatedEngine
from qwentts_grpc.telemetry.metrics import Metrics, build_labels

POLL = 0.02  # seconds between two looks at processes that load


class RemoteEngines:
    """An `EngineSource` over the sockets of the engine processes.

    `changed(available)` is called when a process comes or goes: whether each checkpoint has one that takes speeches.
    """

    def __init__(self, sockets: Sequence[Path], models: int, changed: Callable[[bool], None]) -> None:
        self._processes = [ProcessClient(path, self._changed) for path in sockets]
        self._models = models
        self._tell = changed
        self._engines: dict[str, ReplicatedEngine] = {}
        self._running: list[asyncio.Task[None]] = []

    async def load(self, metrics: Metrics) -> Sequence[ReplicatedEngine]:
        """Connect; wait until each checkpoint is in some process."""
        loop = asyncio.get_running_loop()
        self._running = [loop.create_task(process.run()) for process in self._processes]
        while len(found := self._found()) < self._models:
            await asyncio.sleep(POLL)
        self._engines = found
        metrics.describe(build_labels(), found)
        return list(found.values())

    async def watch(self) -> NoReturn:
        """Wait for ever: processes that end are started again."""
        await asyncio.Event().wait()
        raise AssertionError("nothing sets it")

    def measure(self, metrics: Metrics) -> None:
        """Nothing: engine processes have pages of their own."""

    async def close(self) -> None:
        """Close the connections."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _found(self) -> dict[str, ReplicatedEngine]:
        found: dict[str, ReplicatedEngine] = {}
        for process in self._processes:
            for name, model in process.models.items():
                if process.accepting:
                    found.setdefault(name, ReplicatedEngine(model, self._processes))
        return found

    def _changed(self) -> None:
        if self._engines:
            self._tell(all(engine.available for engine in self._engines.values()))
