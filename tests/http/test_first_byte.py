"""What HTTP adds to the first audio, in processes of their own; `pytest -s` prints the figures."""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest

from clients.demo import free_port
from clients.examples.server import serving
from qwentts_client import AsyncClient

TEXT = "The sun is rising over the hills."
ROUNDS = int(os.environ.get("ROUNDS", "8"))
DOOR = "from qwentts_client.cli.command import Parser; from qwentts_grpc.cli.http import HTTP; import sys; \
parser = Parser(); HTTP.add(parser); options = parser.parse_args(sys.argv[1:]); options.run(options)"


@pytest.fixture
def addresses() -> Iterator[tuple[str, str]]:
    server, port = f"127.0.0.1:{free_port()}", free_port()
    command = [sys.executable, "-c", DOOR, "--server", server, "--port", str(port), "--log-level", "warning"]
    with serving(server, "--metrics-port=0", "--log-level=error"), subprocess.Popen(command) as door:
        try:
            wait_until_healthy(f"http://127.0.0.1:{port}/healthz")
            yield server, f"http://127.0.0.1:{port}"
        finally:
            door.terminate()


def wait_until_healthy(url: str) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with suppress(httpx.TransportError):
            if httpx.get(url).status_code == 200:
                return
        time.sleep(0.1)
    raise TimeoutError(url)


async def by_grpc(client: AsyncClient) -> float:
    start = time.perf_counter()
    async with client.synthesize(TEXT, voice="joe", seed=1, paced=False) as turn:
        async for _ in turn:
            return time.perf_counter() - start
    raise AssertionError("no audio")


async def by_http(url: str, form: str) -> float:
    """On a connection that is open, as clients keep them."""
    body = json.dumps({"input": TEXT, "voice": "joe", "seed": 1, "response_format": form}).encode()
    head = f"POST /v1/audio/speech HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    reader, writer = await asyncio.open_connection(*url.removeprefix("http://").split(":"))
    start = time.perf_counter()
    writer.write(head.encode() + body)
    answer = await reader.readuntil(b"\r\n\r\n")
    await reader.readuntil(b"\r\n")  # the length of the first chunk
    await reader.readexactly(1)
    taken = time.perf_counter() - start
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200")
    return taken


@pytest.mark.timing
async def test_first_byte(addresses: tuple[str, str]) -> None:
    server, url = addresses
    found: dict[str, list[float]] = {"grpc": [], "pcm": [], "mp3": [], "opus": []}
    async with AsyncClient(server) as client:
        for _ in range(ROUNDS):
            for way, times in found.items():
                times.append(await by_grpc(client) if way == "grpc" else await by_http(url, way))
                await asyncio.sleep(0.1)  # until the turn that was left has given its slot back
    best = {way: 1_000 * statistics.quantiles(times[1:], n=10)[0] for way, times in found.items()}
    print("\nfirst audio, the tenth part of turns within ms:", {way: round(value, 1) for way, value in best.items()})
    assert best["pcm"] - best["grpc"] < 50  # on a busy machine; a quiet one adds 1
