"""From start to stop: ports before the model, health, reflection under both names, faults, and the drain."""

import asyncio
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from engine.api.errors import CheckpointError
from qwentts_client.v1 import tts_pb2 as pb
from qwentts_grpc.server.config import ServerConfig
from qwentts_grpc.server.server import Server

from .conftest import Running, config, decoded, failure, kinds, send, serving, text, turn
from .fakes import Breaking, Infinite, Slow

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timing]

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
NAMES = ("", "qwentts.v1.TTSService", "qwentts.v1.VoiceService")


async def health(channel: grpc.aio.Channel) -> set[int]:
    stub = health_pb2_grpc.HealthStub(channel)
    checks = [stub.Check(health_pb2.HealthCheckRequest(service=name)) for name in NAMES]
    return {(await check).status for check in checks}


async def page(port: int, path: str, head: str = "GET") -> tuple[int, str]:
    """Status and body of a page on the side port."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{head} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    return int(answer.split(" ")[1]), answer.partition("\r\n\r\n")[2]


async def test_ports_are_open_while_the_model_loads(checkpoint: Path) -> None:
    server = Server(ServerConfig(str(checkpoint), port=0, metrics_port=0))
    port, side_port = await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            running = Running(server, port, side_port, channel)
            refused = await failure(running.stub.Synthesize(send([config(), text("Hi.")])))
            assert (refused.code, refused.reason, refused.retry_milliseconds) == (UNAVAILABLE, "STARTING", 1_000)
            assert (await failure(running.stub.GetServerInfo(pb.GetServerInfoRequest()))).reason == "STARTING"
            assert await health(channel) == {NOT_SERVING}
            assert [(await page(side_port, path))[0] for path in ("/livez", "/readyz")] == [200, 503]
            await server.load()
            assert await health(channel) == {SERVING}
            assert [(await page(side_port, path))[0] for path in ("/livez", "/readyz")] == [200, 200]
            assert running.sample("tts_ready") == 1
    finally:
        await server.close()


async def test_a_checkpoint_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    server = Server(ServerConfig(str(tmp_path / "nowhere"), port=0, metrics_port=0))
    await server.start()
    with pytest.raises(CheckpointError) as raised:
        await server.load()
    assert "nowhere" in str(raised.value)
    await server.close()


async def test_a_port_that_is_taken_is_an_error(tts: Running) -> None:
    server = Server(ServerConfig("unused", port=tts.port, metrics_port=0))
    with pytest.raises(OSError, match=str(tts.port)):
        await server.start()
    await server.close()


async def test_a_drain_lets_turns_end_and_tells_them(checkpoint: Path) -> None:
    async with serving(checkpoint, max_speeches=2) as running:
        call = running.stub.Synthesize(send([config(2.0), text("I was here before."), 0.4, text(" And so on.")]))
        first = await call.read()
        draining = asyncio.create_task(running.server.drain(asyncio.Event()))
        await asyncio.sleep(0.05)
        assert await health(running.channel) == {NOT_SERVING}
        refused = await failure(running.stub.Synthesize(send([config(), text("Too late.")])))
        assert (refused.code, refused.reason) == (UNAVAILABLE, "DRAINING")
        responses = [first]
        while not responses[-1].HasField("summary"):
            responses.append(await call.read())
        notices = [response.notice.code for response in responses if response.HasField("notice")]
        assert notices.count(pb.NOTICE_CODE_DRAINING) == 1
        await asyncio.wait_for(draining, 2)
        assert running.sample("tts_requests_rejected_total", reason="draining") == 1
        assert running.sample("tts_cancellations_total", origin="drain") == 0


async def test_a_second_signal_cuts_what_is_left(checkpoint: Path) -> None:
    async with serving(checkpoint, max_speeches=2) as running:
        call = running.stub.Synthesize(send([config(60.0), text("I go on and on."), 60.0]))
        await anext(aiter(call))
        hurry = asyncio.Event()
        draining = asyncio.create_task(running.server.drain(hurry))
        await asyncio.sleep(0.1)
        hurry.set()
        await asyncio.wait_for(draining, 1)
        refused = await failure(call)
        assert (refused.code, refused.reason) == (UNAVAILABLE, "DRAINING")
        await running.idle()
        assert running.sample("tts_cancellations_total", origin="drain") == 1


async def test_values_that_are_not_finite_fail_one_turn_alone(tts: Running) -> None:
    with tts.runner(Infinite):
        refused = await failure(tts.stub.Synthesize(send([config(), text("Oh no.")])))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INTERNAL, "GENERATION_FAILED")
    assert kinds(await turn(tts, config(), text("Still here.")))[-1] == "summary"


async def test_a_step_that_raises_ends_the_server_loudly(checkpoint: Path) -> None:
    async with serving(checkpoint) as running:
        watching = asyncio.create_task(running.server.watch())
        with running.runner(Breaking):
            refused = await failure(running.stub.Synthesize(send([config(), text("Oh no.")])))
            assert (refused.code, refused.reason) == (UNAVAILABLE, "ENGINE_FAILED")
            await asyncio.wait_for(watching, 2)
        assert (await failure(running.stub.Synthesize(send([config(), text("Hi.")])))).reason == "ENGINE_FAILED"
        assert await health(running.channel) == {NOT_SERVING}
        assert (await page(running.side_port, "/livez"))[0] == 503


async def test_a_step_that_hangs_ends_the_server_too(checkpoint: Path) -> None:
    async with serving(checkpoint, step_timeout=0.5) as running:
        watching = asyncio.create_task(running.server.watch())
        with running.runner(lambda runner: Slow(runner, 2.0)):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await turn(running, config(), text("Hello?"))
            assert decoded(raised.value).reason == "ENGINE_FAILED"
            await asyncio.wait_for(watching, 2)
        assert await health(running.channel) == {NOT_SERVING}
