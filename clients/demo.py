"""The demonstration of `make demo`.

Starts a server, sends it a sentence word by word, and writes out.wav.
"""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

from clients.examples.server import serving
from qwentts_client import AsyncClient, AudioFrame, Turn, write_wav

SENTENCE = "The sun is rising over the hills, and every word that you hear is spoken while the next one is on its way."
WORD_PAUSE = 0.03  # seconds between words, as a language model might give them
OUT = Path("out.wav")


def main() -> None:
    """Run the demonstration; exits with an error on any failure."""
    address = f"127.0.0.1:{free_port()}"
    print(f"starting a server on {address} with the embedded voice: a small one for demonstration, not Qwen's weights")
    os.environ.pop("QWENTTS_MODEL", None)
    try:
        with serving(address, "--metrics-port=0", "--log-level=warning"):
            asyncio.run(demonstrate(address))
    except RuntimeError as error:
        raise SystemExit(str(error)) from error
    print("server stopped; make page starts it again, with a page at http://127.0.0.1:8080/")


def free_port() -> int:
    """A TCP port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def demonstrate(address: str) -> None:
    """Speak a sentence; print the figures."""
    async with AsyncClient(address) as client:
        voice = (await client.voices())[0].name
        print(f"voice {voice}: {SENTENCE}")
        turn = client.synthesize(words(), voice=voice, paced=False, timeout=120.0)  # so that the factor is the engine's
        clock = Clock(turn)
        seconds = await write_wav(OUT, clock)
        report(clock, seconds)


async def words() -> AsyncIterator[str]:
    """The sentence, a word at a time."""
    for word in SENTENCE.split(" "):
        yield f"{word} "
        await asyncio.sleep(WORD_PAUSE)


class Clock:
    """A turn's frames, with times of the first, the last.

    Times in seconds since the start.
    """

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
    """Print the figures of a turn with `seconds` of audio."""
    print(f"time to first audio  {1000 * clock.first_audio:.0f} ms (the last word was sent {last_word():.0f} ms in)")
    print(f"audio                {seconds:.2f} s in {OUT}, seed {clock.turn.summary.seed}")
    print(f"real-time factor     {clock.total / seconds:.2f} (synthesis time / audio time; below 1 keeps up)")


def last_word() -> float:
    """Time of the last word in milliseconds after the start."""
    return 1000 * WORD_PAUSE * SENTENCE.count(" ")


if __name__ == "__main__":
    main()
