"""Time to first audio through Pipecat, LiveKit, the bare client.

.venv-frameworks/bin/python -m benchmarks.frameworks --server localhost:50051

Needs a server, and the environment of the frameworks' tests. First byte: until audio comes. First sound: until the
first sample that Pipecat calls audible (-40 dB of full scale over 50 ms) would be played.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable

from livekit.plugins import qwentts
from pipecat.audio.utils import detect_speech_onset
from pipecat.frames.frames import LLMFullResponseEndFrame, LLMFullResponseStartFrame, LLMTextFrame, TTSAudioRawFrame

from pipecat_qwentts import QwenTTSService
from qwentts_client import AsyncClient
from tests.client.pipelines import Call, calling

RATE = 24_000
WORDS = ("Okay,", " let", " me", " see.")
Sample = tuple[float, bytes]  # seconds until the first audio, and all audio
Speak = Callable[[], Awaitable[Sample]]


async def bare(client: AsyncClient) -> Sample:
    """A turn of the client alone."""
    start, first, audio = time.perf_counter(), 0.0, b""
    turn = client.open_turn(voice="joe")
    for word in WORDS:
        turn.write(word)
    turn.end()
    async for frame in turn:
        first = first or time.perf_counter() - start
        audio += frame.data
    return first, audio


async def by_pipecat(call: Call) -> Sample:
    """A response in a running pipeline."""
    before, start = len(call.audio), time.monotonic()
    await call.send(LLMFullResponseStartFrame(), *map(LLMTextFrame, WORDS), LLMFullResponseEndFrame())
    messages = len(call.said)
    await call.until(lambda: len(call.said) > messages)
    came = [(at, frame) for at, frame in call.after.down if isinstance(frame, TTSAudioRawFrame)][before:]
    return came[0][0] - start, b"".join(frame.audio for _, frame in came)


async def by_livekit(tts: qwentts.TTS) -> Sample:
    """A stream."""
    start, first, audio = time.perf_counter(), 0.0, b""
    async with tts.stream() as stream:
        for word in WORDS:
            stream.push_text(word)
        stream.end_input()
        async for event in stream:
            first = first or time.perf_counter() - start
            audio += bytes(event.frame.data)
    return first, audio


def report(name: str, samples: list[Sample]) -> None:
    """Print a row of medians, in milliseconds."""
    silences = [(detect_speech_onset(audio, RATE, 1) or 0) / RATE for _, audio in samples]
    sounds = [first + silence for (first, _), silence in zip(samples, silences, strict=True)]
    firsts = sorted(first for first, _ in samples)
    row = (statistics.median(firsts), firsts[-1 - len(firsts) // 20], statistics.median(sounds))
    print(f"{name:<10}" + "".join(f"{1e3 * value:14.0f}" for value in row))


async def main() -> None:
    """Measure the three in turn, on one machine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="localhost:50051")
    parser.add_argument("--turns", type=int, default=20)
    options = parser.parse_args()
    joe = QwenTTSService(server=options.server, settings=QwenTTSService.Settings(voice="joe"))
    async with (
        AsyncClient(options.server) as client,
        calling(joe) as call,
        qwentts.TTS(server=options.server, voice="joe") as tts,
    ):
        ways: dict[str, Speak] = {
            "bare": lambda: bare(client),
            "pipecat": lambda: by_pipecat(call),
            "livekit": lambda: by_livekit(tts),
        }
        samples: dict[str, list[Sample]] = {name: [] for name in ways}
        for _ in range(options.turns + 1):
            for name, speak in ways.items():
                samples[name].append(await speak())
    print(f"{'ms':<10}{'first byte':>14}{'95th':>14}{'first sound':>14}")
    for name, found in samples.items():
        report(name, found[1:])  # the first turn of each opens a connection


if __name__ == "__main__":
    asyncio.run(main())
