"""Sends planned requests when due, from several processes.

Sending never waits for a response.
"""

import asyncio
import gc
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import cycle, islice
from multiprocessing import get_context
from typing import Any, Self

import grpc

from benchmarks.load.call import CALL_TIMEOUT, Call, speak, text_request
from benchmarks.load.plan import Planned, Settings
from qwentts_client.v1 import tts_pb2, tts_pb2_grpc

PREPARATION = 3.0  # seconds from handing out a trial to its first moment: connections are made meanwhile
STARTING = 30.0  # seconds for a process to start
GRACE = 30.0  # seconds beyond the longest possible trial
OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),  # a connection for each channel, where the default shares one
    ("grpc.enable_retries", 0),  # a refusal is a result
)


class Generator:
    """The sending processes, as a context manager.

    They start with it, so that no trial pays for that, and end with it.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pools = [ProcessPoolExecutor(1, get_context("spawn")) for _ in range(settings.processes)]

    def __enter__(self) -> Self:
        for ready in [pool.submit(send_share, self._settings, [], time.monotonic() + STARTING) for pool in self._pools]:
            ready.result(STARTING)
        return self

    def __exit__(self, *_: object) -> None:
        for pool in self._pools:
            pool.shutdown(cancel_futures=True)

    def run(self, planned: Sequence[Planned]) -> tuple[float, list[Call]]:
        """Run one trial: its start, all calls in no order.

        Every process takes every n-th request.
        """
        start, count = time.monotonic() + PREPARATION, len(self._pools)
        limit = PREPARATION + max((request.due for request in planned), default=0.0) + CALL_TIMEOUT + GRACE
        shares = [
            pool.submit(send_share, self._settings, planned[first::count], start)
            for first, pool in enumerate(self._pools)
        ]
        return start, [call for share in shares for call in share.result(limit)]


def send_share(settings: Settings, planned: Sequence[Planned], start: float) -> list[Call]:
    """Calls of one process in a trial.

    `start`: on the clock that all processes share.
    """
    gc.collect()
    gc.freeze()
    return asyncio.run(_send(settings, planned, start))


async def _send(settings: Settings, planned: Sequence[Planned], start: float) -> list[Call]:
    servers = islice(cycle(settings.server.split(",")), settings.channels)
    channels = [grpc.aio.insecure_channel(server, options=OPTIONS) for server in servers]
    try:
        stubs = [tts_pb2_grpc.TTSServiceStub(channel) for channel in channels]
        for stub in stubs:
            await stub.GetServerInfo(tts_pb2.GetServerInfoRequest(), timeout=PREPARATION)
        return await _open_loop(settings, planned, start, stubs)
    finally:
        for channel in channels:
            await channel.close()


async def _open_loop(settings: Settings, planned: Sequence[Planned], start: float, stubs: Sequence[Any]) -> list[Call]:
    if time.monotonic() > start:
        raise TimeoutError("the generator was not ready when its trial began")
    requests = [_request(settings, item) for item in planned]
    async with asyncio.TaskGroup() as group:
        tasks = []
        for item, request, stub in zip(planned, requests, cycle(stubs), strict=False):
            due = start + item.due
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            tasks.append(group.create_task(speak(stub, request, item.phase, due)))
    return [task.result() for task in tasks]


def _request(settings: Settings, item: Planned) -> tts_pb2.SynthesizeTextRequest:
    return text_request(
        item.prompt.text,
        item.prompt.frames,
        voice=settings.voice,
        first_chunk=settings.first_chunk,
        seed=item.seed,
        max_lead=settings.max_lead,
    )
