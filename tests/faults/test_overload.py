"""More turns than the server can speak: those it takes are served as before, the others learn at once when to retry."""

import asyncio
import random
import time
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import pytest

from tests.service.conftest import Failure, Running, config, decoded, send, text

from .conftest import steady

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timing]

SLOTS, QUEUE = 8, 8
STEP = 0.03  # seconds for a frame of every slot: so slow that callers and server fit on one core
AUDIO = 0.8
CAPACITY = SLOTS / (STEP * (AUDIO / 0.08 + 1))  # turns a second, at most
SECONDS = 5.0


@dataclass(frozen=True)
class Ended:
    """One turn: when its first audio or its refusal came, in seconds after it was sent."""

    after: float
    refused: Failure | None


async def one(server: Running) -> Ended:
    sent, first = time.monotonic(), 0.0
    try:
        async for response in server.stub.Synthesize(send([config(AUDIO), text("Hi.")]), timeout=20):
            if response.HasField("audio") and not first:
                first = time.monotonic() - sent
    except grpc.aio.AioRpcError as error:
        return Ended(time.monotonic() - sent, decoded(error))
    return Ended(first, None)


async def offer(server: Running, load: float) -> list[Ended]:
    """Turns at random moments for some seconds, `load` times as many as the server could speak."""
    chance, loop = random.Random(load), asyncio.get_running_loop()
    turns, due, end = [], loop.time(), loop.time() + SECONDS
    while (due := due + chance.expovariate(load * CAPACITY)) < end:
        await asyncio.sleep(due - loop.time())
        turns.append(loop.create_task(one(server)))
    return list(await asyncio.gather(*turns))


async def test_an_overload_is_refused_quickly_and_what_is_taken_is_served(checkpoint: Path) -> None:
    done: dict[float, list[float]] = {}
    async with steady(checkpoint, step_seconds=STEP, max_speeches=SLOTS, max_queue=QUEUE) as server:
        for load in (1.0, 2.0, 5.0):
            ends = await offer(server, load)
            await server.idle()
            refused = [turn for turn in ends if turn.refused]
            # grpcio's asyncio client reports INTERNAL where a status meets one of its writes.
            told = [turn for turn in refused if turn.refused and turn.refused.code is not grpc.StatusCode.INTERNAL]
            for turn in told:
                assert turn.refused and turn.refused.reason == "QUEUE_FULL" and turn.refused.retry_milliseconds
            assert len(told) >= 0.8 * len(refused)
            done[load] = [turn.after for turn in ends if not turn.refused]
            late = f", refusals p99 {1000 * percentile([turn.after for turn in refused], 99):.0f} ms" if refused else ""
            first = ", ".join(f"p{n} {1000 * percentile(done[load], n):.0f}" for n in (50, 95))
            print(f"{load:g}x: {len(ends)} offered, {len(done[load])} served, first audio {first} ms{late}")
    assert len(done[5.0]) >= 0.7 * len(done[1.0])
    # Nobody waits longer than the queue ahead: two full rounds of turns, and what a busy machine adds.
    assert percentile(done[5.0], 95) < 2.0


def percentile(values: list[float], share: float) -> float:
    return float(np.percentile(values, share))
