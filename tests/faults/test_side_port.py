"""Who crowds the side port: probes are answered all the same, and turns go on."""

import asyncio
import threading
import time
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import prometheus_client
import pytest
import pytest_asyncio

from qwentts_grpc.server import admin_http
from qwentts_grpc.server.config import ServerConfig
from qwentts_grpc.server.server import Server
from tests.service.conftest import Running
from tests.service.test_lifecycle import page

from .conftest import steady
from .witness import witness

METRICS = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timing]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(checkpoint: Path) -> AsyncIterator[Running]:
    async with steady(checkpoint, step_seconds=0.002, max_speeches=8) as running:
        yield running


@pytest.mark.parametrize("sent", [b"", METRICS[:-2], METRICS, b"x" * 9_000], ids=["nothing", "half", "whole", "much"])
async def test_sockets_that_say_nothing_or_read_nothing_keep_no_probe_out(server: Running, sent: bytes) -> None:
    idle = []
    for _ in range(3 * admin_http.MOST_CONNECTIONS):
        idle.append(await asyncio.open_connection("127.0.0.1", server.side_port))
        idle[-1][1].write(sent)
    for _ in range(3):
        began = time.monotonic()
        assert (await asyncio.wait_for(page(server.side_port, "/livez"), 5))[0] == 200
        print(f"answered after {time.monotonic() - began:.2f} s")
    for _, writer in idle:
        writer.close()


async def test_readers_of_metrics_in_a_loop_hold_no_turn_up(server: Running) -> None:
    over, pages = threading.Event(), []

    def read() -> None:
        while not over.is_set():
            with urllib.request.urlopen(f"http://127.0.0.1:{server.side_port}/metrics", timeout=10) as answer:
                pages.append(len(answer.read()))

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    made, real = [], prometheus_client.generate_latest

    def generate(registry: prometheus_client.CollectorRegistry) -> bytes:
        made.append(threading.get_ident())
        return real(registry)

    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(admin_http, "generate_latest", generate)
            began = time.monotonic()
            async with witness(server) as heard:
                await asyncio.sleep(3)
            taken = time.monotonic() - began
    finally:
        over.set()
        await asyncio.gather(*(asyncio.to_thread(reader.join) for reader in readers))
    assert len(pages) <= (admin_http.MOST_A_SECOND + 5) * (taken + 1)
    assert 1 <= len(made) <= taken / admin_http.METRICS_AGE + 1 and threading.get_ident() not in made
    print(f"{len(pages) / taken:.0f} pages a second; gap p99 beside them {heard.worst:.0f} ms")


async def test_it_has_an_address_of_its_own() -> None:
    for hosts, bound in (({"host": "0.0.0.0", "insecure": True}, "127.0.0.1"), ({"metrics_host": "::1"}, "::1")):
        made = Server(ServerConfig("unused", port=0, metrics_port=0, **hosts))
        await made.start()
        assert made._side._socket is not None and made._side._socket.getsockname()[0] == bound
        await made.close()


async def test_an_address_that_is_taken_is_an_error(server: Running) -> None:
    made = Server(ServerConfig("unused", port=0, metrics_port=server.side_port))
    with pytest.raises(OSError, match=str(server.side_port)):
        await made.start()
    await made.close()
