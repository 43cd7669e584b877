"""A network that loses its callers: their slots come back soon, and nobody else notices."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import grpc
import pytest
import pytest_asyncio

from qwentts_client.v1 import tts_pb2_grpc
from qwentts_grpc.server import grpc_server
from tests.service.conftest import Running, config, send, text

from .conftest import steady
from .proxy import Proxy
from .witness import witness

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timing]

# In place of ten and five seconds; a caller that vanished must be gone after their sum.
SHORTER = {"grpc.keepalive_time_ms": 2_000, "grpc.keepalive_timeout_ms": 1_000, "grpc.http2.ping_timeout_ms": 1_000}
KEEPALIVE = 3.0
CALLERS = 4


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(checkpoint: Path) -> AsyncIterator[Running]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grpc_server, "OPTIONS", tuple((dict(grpc_server.OPTIONS) | SHORTER).items()))
        async with steady(checkpoint, step_seconds=0.002, max_speeches=16) as running:
            yield running


async def test_as_served_a_lost_caller_is_gone_within_fifteen_seconds() -> None:
    served = dict(grpc_server.OPTIONS)
    for wait in ("grpc.keepalive_timeout_ms", "grpc.http2.ping_timeout_ms"):
        assert served["grpc.keepalive_time_ms"] + served[wait] <= 15_000


async def until_idle(server: Running, most: float) -> float:
    """Seconds until no speech, slot or block is held; fails after `most`."""
    began = time.monotonic()
    await server.idle(most)
    return time.monotonic() - began


@pytest.mark.parametrize(
    ("fault", "most"),
    [
        (Proxy.reset, 0.5),
        (Proxy.swallow, 1.5 * KEEPALIVE),
        (Proxy.stall, 1.5 * KEEPALIVE),
        (Proxy.drop_clients, 1.5 * KEEPALIVE),
    ],
    ids=["reset", "black hole", "stalled peer", "half open"],
)
@pytest.mark.parametrize("words", ["On and on.", "Word after word. " * 200], ids=["waiting", "speaking"])
async def test_lost_callers_give_their_slots_back(
    server: Running, fault: Callable[[Proxy], None], most: float, words: str
) -> None:
    async with Proxy(server.port).running() as proxy:
        options = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0))
        async with grpc.aio.insecure_channel(f"127.0.0.1:{proxy.port}", options) as channel:
            stub = tts_pb2_grpc.TTSServiceStub(channel)
            turns = [aiter(stub.Synthesize(send([config(60.0), text(words), 60.0]))) for _ in range(CALLERS)]
            await asyncio.gather(*map(anext, turns))
            listening = [asyncio.create_task(drain(turn)) for turn in turns]
            await asyncio.sleep(0.3)
            assert server.server.state.speeches == CALLERS
            fault(proxy)
            taken = await until_idle(server, most)
            for task in listening:
                task.cancel()
    print(f"{CALLERS} slots free after {taken:.3f} s")


async def drain(turn: AsyncIterator[object]) -> None:
    try:
        async for _ in turn:
            pass
    except grpc.aio.AioRpcError:
        return


async def test_others_hear_nothing_of_it(server: Running) -> None:
    async with witness(server) as heard:
        for fault in (Proxy.reset, Proxy.swallow, Proxy.reset):
            await test_lost_callers_are_many(server, fault)
    print(f"gap p99 beside them {heard.worst:.0f} ms")


async def test_lost_callers_are_many(server: Running, fault: Callable[[Proxy], None] = Proxy.reset) -> None:
    """Connections that break in all states, right from the first byte on."""
    for wait in (0.0, 0.002, 0.005, 0.01, 0.02, 0.05):
        async with Proxy(server.port).running() as proxy:
            options = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0))
            async with grpc.aio.insecure_channel(f"127.0.0.1:{proxy.port}", options) as channel:
                stub = tts_pb2_grpc.TTSServiceStub(channel)
                call = stub.Synthesize(send([config(60.0), text("On and on."), 60.0]))
                await asyncio.sleep(wait)
                fault(proxy)
                call.cancel()
