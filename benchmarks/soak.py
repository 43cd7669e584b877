"""`python -m benchmarks.soak`: minutes of mixed turns, then leak checks.

On a server of its own.
"""

import argparse
import asyncio
import math
import os
import random
import re
import signal
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from engine.checkpoint.dummy import write_checkpoint
from qwentts_client.v1 import tts_pb2 as pb
from qwentts_client.v1 import tts_pb2_grpc

WORKERS = 6
SLOTS = 4  # few, so that turns wait and queue
LONGEST = 4.0  # seconds of audio in a turn
WARM_UP = 0.25  # of the time, for memory to settle
MOST_GROWTH = 8.0  # MB on average, from the first third after the warm-up to the last; a batch takes 20 for a moment
MOST_DESCRIPTORS = 4  # more than at the end of the warm-up
WORDS = "It was late, and the rain had not stopped; so we read on, aloud, by turns. ".split(" ")
# Kinds of turns with their shares; a fifth is cancelled.
WAYS = {"speaks": 50, "flushes": 20, "is refused": 10, "cancels": 7, "hangs up": 7, "drops its connection": 6}
FORMATS = (pb.AUDIO_ENCODING_PCM_S16LE, pb.AUDIO_ENCODING_WAV, pb.AUDIO_ENCODING_OGG_OPUS, pb.AUDIO_ENCODING_FLAC)
GAUGES = ("tts_kv_blocks_used", "tts_engine_sequences_running", "tts_queue_depth_requests")


@dataclass(frozen=True, slots=True)
class Sample:
    """The server's process at one moment.

    Seconds since its start, megabytes, open files, and the number of talker steps so far that took no longer than each
    limit in milliseconds.
    """

    at: float
    megabytes: float
    descriptors: int
    steps: dict[float, float]


class Server:
    """A server process with a tiny checkpoint on this host."""

    def __init__(self, process: asyncio.subprocess.Process, address: str, metrics: str) -> None:
        self.process, self.address, self.metrics = process, address, metrics
        self._began = time.monotonic()

    async def scrape(self) -> dict[str, float]:
        """Its metrics, by name with labels."""
        page = await asyncio.to_thread(lambda: urllib.request.urlopen(self.metrics, timeout=10).read().decode())
        lines = (line.rsplit(" ", 1) for line in page.splitlines() if line[0] != "#")
        return {name: float(value) for name, value in lines}

    async def sample(self) -> Sample:
        """A sample now."""
        about, metrics = Path(f"/proc/{self.process.pid}"), await self.scrape()
        resident = re.search(r"VmRSS:\s+(\d+)", (about / "status").read_text())
        assert resident is not None
        step = re.compile(r'tts_engine_step_duration_seconds_bucket{le="(.+)",stage="talker"}')
        return Sample(
            time.monotonic() - self._began,
            int(resident[1]) / 1024,
            len(os.listdir(about / "fd")),
            {1_000 * float(found[1]): count for name, count in metrics.items() if (found := step.fullmatch(name))},
        )


@asynccontextmanager
async def started() -> AsyncIterator[Server]:
    """A server with random weights, which make turns cheap.

    Afterwards it must end by itself.
    """
    flags = ("--port", "0", "--metrics-port", "0", "--max-speeches", str(SLOTS), "--log-level", "error")
    with tempfile.TemporaryDirectory() as folder:
        model = write_checkpoint(Path(folder) / "tiny", "0.6B-CustomVoice", seed=8, eos_scale=1.8)
        command = (sys.executable, "-m", "qwentts_grpc.cli.flags", "serve", "--model", str(model), *flags)
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        metrics, address = [(await process.stdout.readline()).decode().split()[-1] for _ in range(2)]
        try:
            yield Server(process, address, metrics)
        finally:
            process.send_signal(signal.SIGTERM)
            code = await asyncio.wait_for(process.wait(), 60)
            assert code == 0, f"the server ended with {code}"


async def one(stub: Any, channel: grpc.aio.Channel, way: str, chance: random.Random) -> str:
    """Run a turn of kind `way`; return its ending."""
    call = stub.Synthesize(_requests(way, chance), timeout=60)
    if way in ("hangs up", "drops its connection"):
        await asyncio.sleep(chance.random())
        await channel.close() if way == "drops its connection" else call.cancel()
    last = pb.SynthesizeResponse()
    try:
        async for response in call:
            last = response
    except asyncio.CancelledError:
        return "CANCELLED"
    except grpc.aio.AioRpcError as error:
        if not last.HasField("summary"):  # after it nothing can be lost; see FINE
            return error.code().name
    return str(pb.FinishReason.Name(last.summary.finish_reason))


async def _requests(way: str, chance: random.Random) -> AsyncIterator[pb.SynthesizeRequest]:
    config = pb.SynthesisConfig(voice="nobody" if way == "is refused" else "", audio_format=_format(chance))
    config.sampling.max_audio.FromMilliseconds(round(1_000 * LONGEST * chance.random()) + 80)
    config.sampling.seed = chance.randrange(2**32)
    yield pb.SynthesizeRequest(config=config)
    for number in range(chance.randint(1, 30)):
        yield pb.SynthesizeRequest(text=pb.TextChunk(text=chance.choice(WORDS) + " a "))
        await asyncio.sleep(chance.expovariate(100))
        if way == "flushes" and number % 5 == 4:
            yield pb.SynthesizeRequest(flush=pb.Flush(mark=str(number)))
    if way == "cancels":
        await asyncio.sleep(chance.random())
        yield pb.SynthesizeRequest(cancel=pb.Cancel())


def _format(chance: random.Random) -> pb.AudioFormat:
    return pb.AudioFormat(encoding=chance.choice(FORMATS))


# Allowed endings of each kind. grpcio's asyncio client reports INTERNAL where a status meets one of its writes.
FINE = {
    "speaks": {"FINISH_REASON_STOP", "FINISH_REASON_LENGTH"},
    "flushes": {"FINISH_REASON_STOP", "FINISH_REASON_LENGTH"},
    "is refused": {"NOT_FOUND", "INTERNAL"},
    "cancels": {"FINISH_REASON_STOP", "FINISH_REASON_LENGTH", "FINISH_REASON_CANCELLED"},
    "hangs up": {"CANCELLED", "FINISH_REASON_STOP", "FINISH_REASON_LENGTH"},
    "drops its connection": {"CANCELLED", "FINISH_REASON_STOP", "FINISH_REASON_LENGTH", "UNAVAILABLE"},
}


async def work(address: str, seed: int, until: float, ends: Counter[tuple[str, str]]) -> None:
    """Run turns one after another.

    Each on the current connection, which some drop.
    """
    chance, options = random.Random(seed), (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0))
    while time.monotonic() < until:
        async with grpc.aio.insecure_channel(address, options) as channel:
            stub, way = tts_pb2_grpc.TTSServiceStub(channel), ""
            while way != "drops its connection" and time.monotonic() < until:
                (way,) = chance.choices(list(WAYS), list(WAYS.values()))
                ends[way, await one(stub, channel, way, chance)] += 1


async def watch(server: Server, until: float, samples: list[Sample], period: float) -> None:
    """Sample the server every `period` seconds."""
    while time.monotonic() < until:
        samples.append(await server.sample())
        await asyncio.sleep(period)


async def soak(seconds: float) -> list[str]:
    """Run for `seconds`, print a report, return the problems."""
    ends: Counter[tuple[str, str]] = Counter()
    samples: list[Sample] = []
    async with started() as server:
        until = time.monotonic() + seconds
        workers = [work(server.address, seed, until, ends) for seed in range(WORKERS)]
        await asyncio.gather(*workers, watch(server, until, samples, max(1.0, seconds / 300)))
        await asyncio.sleep(2)
        samples.append(await server.sample())
        left = {name: value for name, value in (await server.scrape()).items() if name in GAUGES}
    steady = [sample for sample in samples if sample.at > WARM_UP * seconds]
    _print_report(ends, steady)
    print("when idle: " + ", ".join(f"{name} {value:g}" for name, value in left.items()))
    return [*_lost(ends), *_grown(steady), *(f"{name} is {value:g}" for name, value in left.items() if value)]


def _print_report(ends: Counter[tuple[str, str]], steady: Sequence[Sample]) -> None:
    for way in WAYS:
        counts = ", ".join(f"{end} {count}" for (by, end), count in sorted(ends.items()) if by == way)
        print(f"{way:<22}{counts}")
    first, last = steady[0], steady[-1]
    slope = np.polyfit([sample.at for sample in steady], [sample.megabytes for sample in steady], 1)[0] * 3_600
    minutes, steps = (last.at - first.at) / 60, last.steps[math.inf] - first.steps[math.inf]
    print(f"turns {ends.total()}, {steps:.0f} steps in the last {minutes:.1f} minutes")
    before, after = _thirds(steady)
    print(f"memory {before:.1f} -> {after:.1f} MB, {slope:+.0f} MB/h; files {first.descriptors} -> {last.descriptors}")
    middle = steady[len(steady) // 2]
    print(f"talker step p50 {_median_step(first, middle):.2f} -> {_median_step(middle, last):.2f} ms")


def _thirds(samples: Sequence[Sample]) -> tuple[float, float]:
    """Mean megabytes of the first, of the last third."""
    third = max(1, len(samples) // 3)
    before, after = samples[:third], samples[-third:]
    return sum(sample.megabytes for sample in before) / third, sum(sample.megabytes for sample in after) / third


def _median_step(since: Sample, until: Sample) -> float:
    """Median milliseconds of a talker step between two samples.

    From the buckets, as Prometheus computes it.
    """
    limits = sorted(until.steps)
    counts = [until.steps[limit] - since.steps[limit] for limit in limits]
    return float(np.interp(counts[-1] / 2, [0.0, *counts[:-1]], [0.0, *limits[:-1]]))


def _lost(ends: Counter[tuple[str, str]]) -> list[str]:
    return [
        f"{count} turns of one that {way} ended in {end}" for (way, end), count in ends.items() if end not in FINE[way]
    ]


def _grown(steady: Sequence[Sample]) -> list[str]:
    wrong = []
    before, after = _thirds(steady)
    if after - before > MOST_GROWTH:
        wrong.append(f"memory grew by {after - before:.1f} MB")
    if steady[-1].descriptors - steady[0].descriptors > MOST_DESCRIPTORS:
        wrong.append(f"{steady[-1].descriptors - steady[0].descriptors} more files are open")
    return wrong


def main() -> None:
    """Exit with code 1 on any problem."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    wrong = asyncio.run(soak(60 * parser.parse_args().minutes))
    for line in wrong:
        print(f"WRONG: {line}")
    print(f"lost: {len(wrong)}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
