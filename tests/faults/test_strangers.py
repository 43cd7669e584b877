"""What a caller without a token can send, and what nobody else may notice of it."""

import asyncio
import gc
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2

from engine.api.config import EngineConfig
from qwentts_client.v1 import tts_pb2 as pb
from qwentts_grpc.admission import call_limits
from qwentts_grpc.admission.tenants import Access
from qwentts_grpc.server.config import ServerConfig
from qwentts_grpc.server.server import Server
from qwentts_grpc.telemetry.log_floods import LINES, PERIOD
from tests.service.conftest import Running, config, failure, kinds, send, serving, text
from tests.service.fakes import Breaking
from tests.service.test_access import bearer
from tests.service.test_lifecycle import NOT_SERVING, SERVING, health, page

from .conftest import steady
from .http2 import CHECK, WATCH, Connection, connected, message, opening
from .test_processes import exit_code, process
from .witness import witness

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timing]

INFO = "/qwentts.v1.TTSService/GetServerInfo"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
LIST_SERVICES = b"\x3a\x01*"  # of a reflection request
PATHS = [b"/\xff", b"\xff" * 4_000, b"/qwentts.v1.TTSService/\xc3", b"/\xed\xa0\x80/x"]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(checkpoint: Path) -> AsyncIterator[Running]:
    async with steady(checkpoint, step_seconds=0.002, max_speeches=8) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def guarded(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """A server that asks for tokens."""
    tokens = tmp_path_factory.mktemp("guarded") / "tokens"
    tokens.write_text("known-1 one\n")
    made = Server(
        ServerConfig(
            str(checkpoint), port=0, metrics_port=0, access=Access(tokens), engine=EngineConfig(max_speeches=2)
        )
    )
    port, side_port = await made.start()
    await made.load()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Running(made, port, side_port, channel)
    await made.close()


async def known_caller_is_served(running: Running) -> None:
    """Every kind of call, with a token, and the checks of a load balancer without one."""
    metadata = bearer("known-1")
    assert (await running.stub.GetServerInfo(pb.GetServerInfoRequest(), metadata=metadata, timeout=5)).models
    spoken = running.stub.Synthesize(send([config(0.4), text("Hello.")]), metadata=metadata, timeout=10)
    assert kinds([response async for response in spoken])[-1] == "summary"
    assert await asyncio.wait_for(health(running.channel), 5) == {SERVING}


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


async def stall(port: int) -> list[Connection]:
    """Calls of every kind on a connection that takes nothing, and calls whose message never comes."""
    nothing, silent = await Connection.open(port, window=0), await Connection.open(port)
    speech = pb.SynthesizeTextRequest(text="Hello.", config=config(60.0).config).SerializeToString()
    calls = [
        (WATCH, b""),
        (CHECK, b""),
        (INFO, b""),
        ("/qwentts.v1.VoiceService/ListVoices", b""),
        ("/qwentts.v1.TTSService/SynthesizeText", speech),
        ("/qwentts.v1.TTSService/Synthesize", config(60.0).SerializeToString()),
    ]
    for number, (path, data) in enumerate(calls):
        nothing.call(path, data, stream=2 * number + 1)
        silent.call(path, None, stream=2 * number + 1)
    nothing.send(reflection(2 * len(calls) + 1))
    return [nothing, silent]


def reflection(stream: int) -> bytes:
    return opening(stream, REFLECTION) + message(LIST_SERVICES, stream, end=False) * 50


@pytest.mark.parametrize("path", PATHS, ids=lambda path: str(path[:40]))
async def test_a_path_that_is_not_utf8_is_an_unknown_method(server: Running, path: bytes) -> None:
    async with witness(server), connected(server.port) as stranger:
        stranger.call(path)
        await until(lambda: 1 in stranger.ended())
        assert b"grpc-status\x0212" in stranger.text()
    assert (await server.stub.GetServerInfo(pb.GetServerInfoRequest(), timeout=5)).models


async def test_what_is_not_utf8_stays_an_error_everywhere_else(server: Running) -> None:
    with pytest.raises(UnicodeDecodeError):
        b"\xff".decode()
    with pytest.raises(UnicodeEncodeError):
        "\ud800".encode()


async def test_stalled_calls_delay_no_drain_and_no_close(checkpoint: Path) -> None:
    async with serving(checkpoint) as running:
        stalled = await stall(running.port)
        await asyncio.sleep(0.3)
        began = time.monotonic()
        hurry = asyncio.Event()
        draining = asyncio.create_task(running.server.drain(hurry))
        await asyncio.sleep(0)
        refused = await failure(running.stub.Synthesize(send([config(), text("Too late.")])))
        assert refused.reason == "DRAINING"
        assert await health(running.channel) == {NOT_SERVING}
        assert (await page(running.side_port, "/readyz"))[0] == 503
        hurry.set()
        await asyncio.wait_for(draining, 2)
        await asyncio.wait_for(running.server.close(), 5)
        assert time.monotonic() - began < 6
    for connection in stalled:
        connection.abort()


async def test_calls_that_were_open_before_the_model_delay_no_readiness(checkpoint: Path) -> None:
    made = Server(ServerConfig(str(checkpoint), port=0, metrics_port=0))
    port, _ = await made.start()
    stalled = await stall(port)
    await asyncio.sleep(0.3)
    try:
        await asyncio.wait_for(made.load(), 30)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            assert await asyncio.wait_for(health(channel), 5) == {SERVING}
    finally:
        for connection in stalled:
            connection.abort()
        await made.close()


async def test_stalled_calls_delay_no_watchdog(checkpoint: Path) -> None:
    async with serving(checkpoint) as running:
        stalled = await stall(running.port)
        watching = asyncio.create_task(running.server.watch())
        with running.runner(Breaking):
            assert (await failure(running.stub.Synthesize(send([config(), text("Oh no.")])))).reason == "ENGINE_FAILED"
            await asyncio.wait_for(watching, 2)
        for connection in stalled:
            connection.abort()


@pytest.mark.parametrize("signals", [1, 2])
async def test_stalled_calls_delay_no_exit(checkpoint: Path, tmp_path: Path, signals: int) -> None:
    async with process(checkpoint, tmp_path, "--drain-seconds", "2" if signals == 1 else "600") as (own, _):
        stalled = await stall(int(own.server.rpartition(":")[2]))
        await asyncio.sleep(0.5)
        for _ in range(signals):
            own.process.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.3)
        assert await exit_code(own, 8) == 0
        for connection in stalled:
            connection.abort()


async def test_watches_have_a_budget_of_their_own(guarded: Running) -> None:
    async with connected(guarded.port) as stranger:
        for stream in range(1, 2 * 120, 2):
            stranger.call(WATCH, stream=stream)
        await until(lambda: len(stranger.answered()) == 120)
        await known_caller_is_served(guarded)
        still_open = stranger.answered() - stranger.ended()
        assert len(still_open) == call_limits.WATCHES.per_host
        assert b"grpc-status\x018" in stranger.text()
    async with connected(guarded.port) as another:  # those places are free again
        another.call(WATCH)
        await until(lambda: 1 in another.answered())
        assert 1 not in another.ended()


@pytest.mark.parametrize("path", [CHECK, WATCH, "/grpc.health.v1.Health/List", REFLECTION, INFO, "/no/thing"])
@pytest.mark.parametrize("data", [b"", None], ids=["nothing is read", "nothing is sent"])
async def test_strangers_calls_take_no_place_of_others(guarded: Running, path: str, data: bytes | None) -> None:
    strangers = [await Connection.open(guarded.port, window=0) for _ in range(5)]
    for stream in range(1, 2 * 120, 2):
        for stranger in strangers:
            stranger.call(path, data, stream=stream)
    await asyncio.sleep(0.5)
    await known_caller_is_served(guarded)
    for stranger in strangers:
        stranger.abort()


async def test_a_call_whose_status_nobody_takes_is_reset(guarded: Running) -> None:
    async with connected(guarded.port, window=0) as stranger:
        for stream in range(1, 2 * 50, 2):
            stranger.call(CHECK, stream=stream)
        await until(lambda: len(stranger.answered()) == 50)
        await until(lambda: not any(task.get_name() == "rpc_task" for task in asyncio.all_tasks()))
        await known_caller_is_served(guarded)  # grpcio holds the latest call until the next one comes
        gc.collect()
        await until(lambda: len(stranger.ended()) == 50)


async def test_strange_methods_make_no_series_and_few_lines(checkpoint: Path, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("known-1\n")
    async with process(checkpoint, tmp_path, "--token-file", str(tokens)) as (own, channel):
        side_port = int(own.metrics.rpartition(":")[2].partition("/")[0])
        before, lines = (await page(side_port, "/metrics"))[1], own.log.read_text().count("\n")
        for number in range(1_500):
            path = f"/qwentts.v1.TTSService/evil{number}-{'A' * 3_000}"
            call = channel.unary_unary("/x/] INFO root [] evil" if number % 2 else path)
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await call(b"")
            assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
        page_after, log = (await page(side_port, "/metrics"))[1], own.log.read_text()
        assert "evil" not in page_after and len(page_after) < len(before) + 500
        assert "evil" not in log and log.count("\n") - lines <= LINES + 2
        assert "TOKEN_MISSING" in log and "127.0.0.1" in log
        await asyncio.sleep(PERIOD)
        assert f"{1_500 - LINES} more lines of rejected calls, TOKEN_MISSING" in own.log.read_text()


async def test_every_call_that_needs_no_token_has_a_budget_of_its_own() -> None:
    for method in health_pb2.DESCRIPTOR.services_by_name["Health"].methods:
        assert f"/{method.containing_service.full_name}/{method.name}" in call_limits.PUBLIC


async def test_one_connection_cannot_hold_the_server(server: Running) -> None:
    async with connected(server.port) as caller:
        for stream in range(1, 2 * 1_000, 2):
            caller.call("/qwentts.v1.TTSService/Synthesize", None, stream=stream)
        await asyncio.sleep(0.5)
        async with witness(server):
            assert await health(server.channel) == {SERVING}
