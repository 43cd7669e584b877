"""Real-time streams that one server carries: a closed loop.

`python -m benchmarks.streams --streams 1,8,16` starts a server and prints a line for each number of streams. A stream
speaks text after text, and begins the next when the last one has been heard, as a listener would.
"""

import argparse
import asyncio
import random
import time
from collections.abc import Sequence

import grpc

from benchmarks.load.__main__ import whole_numbers
from benchmarks.load.call import Call, speak, text_request
from benchmarks.load.figures import Figures, trial_figures
from benchmarks.load.generator import OPTIONS
from benchmarks.load.plan import MEASUREMENT, WARM_UP
from benchmarks.load.prompts import BUILT_IN, Prompt, read_prompts
from benchmarks.parts import machine
from benchmarks.parts.server import serving
from benchmarks.parts.target import Target
from qwentts_client.v1 import tts_pb2_grpc

CHANNELS = 16
HEADER = "streams | audio s/s | first audio ms p50 / p95 / p99 | failed, underruns of turns | longest gap p99 ms"


def main() -> None:
    """Print a line a number of streams."""
    options = _options()
    print(machine.describe(), HEADER, sep="\n", flush=True)
    most = max(options.streams)
    target = Target(options.model, options.device, max(options.max_speeches, most), most, options.fronts)
    server_cores, own = machine.share_cores()
    with serving(target.flags, server_cores, options.module) as served, machine.pinned(own):
        for streams in options.streams:
            print(_line(streams, asyncio.run(_measure(served.address, streams, options))), flush=True)


async def _measure(server: str, streams: int, options: argparse.Namespace) -> Figures:
    channels = [grpc.aio.insecure_channel(server, options=OPTIONS) for _ in range(min(CHANNELS, streams))]
    prompts, start = read_prompts(BUILT_IN), time.monotonic()
    loops = (
        _stream(tts_pb2_grpc.TTSServiceStub(channels[number % len(channels)]), number, prompts, start, options)
        for number in range(streams)
    )
    try:
        calls = [call for each in await asyncio.gather(*loops) for call in each]
    finally:
        for channel in channels:
            await channel.close()
    return trial_figures(calls, streams, start + options.warm_up, options.seconds)


async def _stream(
    stub: tts_pb2_grpc.TTSServiceStub, number: int, prompts: Sequence[Prompt], start: float, options: argparse.Namespace
) -> list[Call]:
    """Turns of one listener.

    The first begins at a moment of its own.
    """
    chance, calls = random.Random(number), list[Call]()
    measured, end = start + options.warm_up, start + options.warm_up + options.seconds
    await asyncio.sleep(chance.uniform(0, options.warm_up))
    while (now := time.monotonic()) < end:
        prompt = chance.choice(prompts)
        request = text_request(
            prompt.text, prompt.frames, voice="", first_chunk=1, seed=chance.getrandbits(32), max_lead=options.max_lead
        )
        call = await speak(stub, request, MEASUREMENT if now >= measured else WARM_UP)
        calls.append(call)
        if call.arrivals:
            await asyncio.sleep(max(0.0, call.arrivals[0] + sum(call.durations) - time.monotonic()))
    return calls


def _line(streams: int, figures: Figures) -> str:
    first = figures.first_playable
    cells = (
        f"{streams}",
        f"{figures.audio:.1f}",
        f"{first.p50:.1f} / {first.p95:.1f} / {first.p99:.1f}",
        f"{figures.failed}, {figures.interrupted} of {figures.requests}",
        f"{figures.gaps.p99:.0f}",
    )
    return " | ".join(cells)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streams", description=__doc__)
    add = parser.add_argument
    add(
        "--streams",
        type=whole_numbers,
        default=whole_numbers("1,8,16,32,64,96,128,192,256"),
        help="default %(default)s",
    )
    add("--model", default="1.7B-CustomVoice", help="kind or folder (default %(default)s)")
    add("--device", default="auto", help="default %(default)s")
    add("--seconds", type=float, default=20.0, help="measured (default %(default)g)")
    add("--warm-up", type=float, default=6.0, help="seconds before it, in which all begin (default %(default)g)")
    add("--max-lead", type=float, default=5.0, help="seconds ahead of playback (default %(default)g)")
    add("--fronts", type=int, help="front processes (default: the server's)")
    add("--max-speeches", type=int, default=128, help="slots, at least the most streams (default %(default)s)")
    add("--module", default="qwentts_grpc.cli.flags", help="of the server (default %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
