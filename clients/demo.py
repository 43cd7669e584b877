"""What `make demo` does: a server starts, a sentence goes to it word by word, and the audio lands in out.wav."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

from qwentts_client import AsyncClient, AudioFrame, Turn, write_wav

SENTENCE = "The sun is rising over the hills, and every word that you hear is spoken while the next one is on its way."
START_LIMIT = 180.0  # seconds for the server to load and warm up
STOP_LIMIT = 60.0
WORD_PAUSE = 0.03  # seconds between words, as a language model might give them
OUT = Path("out.wav")


def main() -> None:
    """Run the demonstration; leaves with an error if any part of it fails."""
    address = f"127.0.0.1:{free_port()}"
    print(f"starting a server on {address} with the embedded voice: a small one for demonstration, not Qwen's weights")
    with serving(address) as server:
        asyncio.run(demonstrate(address, server))
    print("server stopped")


def free_port() -> int:
    """A TCP port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(address: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server process; stopped by SIGTERM, and SystemExit if it does not end well."""
    environment = {name: value for name, value in os.environ.items() if name != "QWENTTS_MODEL"}
    port = address.rpartition(":")[2]
    flags = ["--port", port, "--metrics-port", "0", "--log-level", "warning"]
    server = subprocess.Popen([sys.executable, "-m", "qwentts_grpc.cli.flags", "serve", *flags], env=environment)
    try:
        yield server
        server.send_signal(signal.SIGTERM)
        if code := server.wait(STOP_LIMIT):
            raise SystemExit(f"the server ended with exit code {code}")
    finally:
        server.kill()
        server.wait(STOP_LIMIT)


async def demonstrate(address: str, server: subprocess.Popen[bytes]) -> None:
    """Wait for the server, speak, and print the figures."""
    async with AsyncClient(address) as client:
        await until_serving(client, server)
        voice = (await client.voices())[0].name
        print(f"voice {voice}: {SENTENCE}")
        turn = client.synthesize(words(), voice=voice, paced=False, timeout=120.0)  # so that the factor is the engine's
        clock = Clock(turn)
        seconds = await write_wav(OUT, clock)
        report(clock, seconds)


async def until_serving(client: AsyncClient, server: subprocess.Popen[bytes]) -> None:
    """Wait until the server serves; SystemExit if it dies or takes too long."""
    ready = asyncio.create_task(client.wait_ready(START_LIMIT))
    while not ready.done():
        if server.poll() is not None:
            ready.cancel()
            raise SystemExit(f"the server ended with exit code {server.returncode}")
        await asyncio.wait({ready}, timeout=0.1)
    try:
        ready.result()
    except TimeoutError as error:
        raise SystemExit(f"the server: {error}") from error


async def words() -> AsyncIterator[str]:
    """The sentence, a word at a time."""
    for word in SENTENCE.split(" "):
        yield f"{word} "
        await asyncio.sleep(WORD_PAUSE)


class Clock:
    """A turn's frames, with a note of when the first one came and when the last. Times in seconds since the start."""

    def __init__(self, turn: Turn) -> None:
        self.turn = turn
        self.first_audio = 0.0
        self.total = 0.0

    async def __aiter__(self) -> AsyncIterator[AudioFrame]:
        start = time.monotonic()
        async for frame in self.turn:
            self.first_audio = self.first_audio or time.monotonic() - start
            yield frame
        self.total = time.monotonic() - start


def report(clock: Clock, seconds: float) -> None:
    """Print the figures of a turn whose audio lasts `seconds`."""
    print(f"time to first audio  {1000 * clock.first_audio:.0f} ms (the last word was sent {last_word():.0f} ms in)")
    print(f"audio                {seconds:.2f} s in {OUT}, seed {clock.turn.summary.seed}")
    print(f"real-time factor     {clock.total / seconds:.2f} (synthesis time / audio time; below 1 keeps up)")


def last_word() -> float:
    """Milliseconds after the start at which the last word is sent."""
    return 1000 * WORD_PAUSE * SENTENCE.count(" ")


if __name__ == "__main__":
    main()
