"""A server's process in trouble: signals while turns run, and a device that hangs, fails, or takes all with it."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from qwentts_client.v1 import tts_pb2 as pb
from qwentts_client.v1 import tts_pb2_grpc
from tests.service.conftest import Failure, Requests, config, decoded, failure, send, text
from tests.service.test_cli import ENVIRONMENT, FAKES, Process, launch
from tests.service.test_lifecycle import NOT_SERVING, SERVING, health, page

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timing]

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
STREAMS = 32
AUDIO = 6.5  # seconds of a turn that lasts for one and a half: synthesis is at most five ahead


@asynccontextmanager
async def process(checkpoint: Path, folder: Path, *flags: str, fault: str = "") -> AsyncIterator[tuple[Process, Any]]:
    """A server of its own, whose device has no model and breaks if `fault` says so, and a channel to it."""
    log = folder / "log"
    own = broken(fault, checkpoint, log, *flags) if fault else launch(checkpoint, log, *flags, command=FAKES)
    options = (("grpc.use_local_subchannel_pool", 1),)
    try:
        async with grpc.aio.insecure_channel(own.server, options) as channel:
            yield own, channel
    finally:
        own.process.kill()
        own.process.wait()
        assert own.process.stdout is not None
        own.process.stdout.close()


def broken(fault: str, checkpoint: Path, log: Path, *flags: str) -> Process:
    command = [sys.executable, "-m", "tests.faults.faulty", fault, str(checkpoint), *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log.open("w"), text=True, env=ENVIRONMENT)
    assert process.stdout is not None
    metrics, server = (process.stdout.readline().split()[-1] for _ in range(2))
    return Process(process, log, server, metrics)


async def alive(own: Process) -> bool:
    """What a supervisor's probe says."""
    port = int(own.metrics.rpartition(":")[2].partition("/")[0])
    try:
        return (await page(port, "/livez"))[0] == 200
    except ConnectionError:
        return False


async def exit_code(own: Process, seconds: float) -> int:
    return await asyncio.to_thread(own.process.wait, seconds)


async def read(call: Any) -> tuple[list[pb.SynthesizeResponse], Failure | None]:
    """All that comes, and the failure that it ends in."""
    responses = []
    try:
        async for response in call:
            responses.append(response)
    except grpc.aio.AioRpcError as error:
        return responses, decoded(error)
    return responses, None


async def open_turns(channel: grpc.aio.Channel, count: int, audio: float, wait: float) -> list[Any]:
    """Turns that have been admitted, of up to `audio` seconds; their text ends `wait` seconds after it began."""
    stub = tts_pb2_grpc.TTSServiceStub(channel)
    requests: Requests = [config(audio), text("Word after word. " * 100), wait, text(" The end.")]
    turns = [aiter(stub.Synthesize(send(requests))) for _ in range(count)]
    await asyncio.gather(*map(anext, turns))
    return turns


async def test_sigterm_cuts_no_running_turn(checkpoint: Path, tmp_path: Path) -> None:
    flags = ("--max-speeches", str(STREAMS))
    async with process(checkpoint, tmp_path, *flags) as (own, channel):
        calls = await open_turns(channel, STREAMS, AUDIO, 0.5)
        own.process.send_signal(signal.SIGTERM)
        sent = time.monotonic()
        while await health(channel) != {NOT_SERVING}:
            assert time.monotonic() - sent < 1
        down = time.monotonic() - sent
        late = await failure(tts_pb2_grpc.TTSServiceStub(channel).Synthesize(send([config(), text("Too late.")])))
        assert (late.code, late.reason) == (UNAVAILABLE, "DRAINING")
        ends = await asyncio.gather(*map(read, calls))
        assert [error for _, error in ends if error] == []
        assert all(responses[-1].HasField("summary") for responses, _ in ends)
        notices = [
            response.notice.code for responses, _ in ends for response in responses if response.HasField("notice")
        ]
        assert notices.count(pb.NOTICE_CODE_DRAINING) == STREAMS
        assert await exit_code(own, 10) == 0
    print(f"{STREAMS} turns ended whole; not serving {1000 * down:.0f} ms after SIGTERM")


async def test_a_second_sigterm_cuts_them_and_still_exits_with_0(checkpoint: Path, tmp_path: Path) -> None:
    async with process(checkpoint, tmp_path) as (own, channel):
        calls = await open_turns(channel, 4, 60.0, 60.0)
        own.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.2)
        own.process.send_signal(signal.SIGTERM)
        for _, error in await asyncio.gather(*map(read, calls)):
            assert error is not None and (error.code, error.reason) == (UNAVAILABLE, "DRAINING")
        assert await exit_code(own, 10) == 0


async def test_drain_seconds_are_the_most(checkpoint: Path, tmp_path: Path) -> None:
    async with process(checkpoint, tmp_path, "--drain-seconds", "1") as (own, channel):
        calls = await open_turns(channel, 2, 60.0, 60.0)
        own.process.send_signal(signal.SIGTERM)
        assert await exit_code(own, 10) == 0
        assert {error.reason for _, error in await asyncio.gather(*map(read, calls)) if error} == {"DRAINING"}


async def test_sighup_rotates_tokens(checkpoint: Path, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("old-one\n")
    async with process(checkpoint, tmp_path, "--token-file", str(tokens), "--log-format", "json") as (own, channel):
        stub = tts_pb2_grpc.TTSServiceStub(channel)

        async def known(token: str) -> bool:
            try:
                await stub.GetServerInfo(pb.GetServerInfoRequest(), metadata=(("authorization", f"Bearer {token}"),))
            except grpc.aio.AioRpcError as error:
                assert error.code() is grpc.StatusCode.UNAUTHENTICATED
                return False
            return True

        assert (await known("old-one"), await known("new-one")) == (True, False)
        tokens.write_text("new-one\n")
        own.process.send_signal(signal.SIGHUP)
        await asyncio.sleep(0.2)
        assert (await known("old-one"), await known("new-one")) == (False, True)
        assert await health(channel) == {SERVING}
    lines = [json.loads(line) for line in own.log.read_text().splitlines()]
    assert any(line["message"] == "reloaded: Tokens" for line in lines)
    assert "old-one" not in own.log.read_text()


@pytest.mark.parametrize(("fault", "most"), [("hang", 2.5), ("fail", 1.0)])
async def test_a_broken_device_is_seen_told_and_ends_the_process(
    checkpoint: Path, tmp_path: Path, fault: str, most: float
) -> None:
    async with process(checkpoint, tmp_path, "--watchdog-seconds", "1.5", fault=fault) as (own, channel):
        calls = await open_turns(channel, 4, 60.0, 60.0)
        began = time.monotonic()
        ends = await asyncio.gather(*map(read, calls))
        told = time.monotonic() - began
        for _, error in ends:
            assert error is not None and (error.code, error.reason) == (UNAVAILABLE, "ENGINE_FAILED")
            assert error.retry_milliseconds
        async with asyncio.timeout(10):
            while await alive(own):
                await asyncio.sleep(0.02)
        assert await exit_code(own, 10) == 70
        gone = time.monotonic() - began
    print(f"{fault}: every stream told after {told:.2f} s, process gone after {gone:.2f} s")
    assert told < most + 2  # from the turns' start; the device works for a moment first


async def test_a_killed_server_is_unavailable_and_its_port_is_free_again(checkpoint: Path, tmp_path: Path) -> None:
    async with process(checkpoint, tmp_path, fault="vanish") as (own, channel):
        calls = await open_turns(channel, 2, 60.0, 60.0)
        for _, error in await asyncio.gather(*map(read, calls)):
            assert error is not None and error.code is UNAVAILABLE
        assert await exit_code(own, 5) == -signal.SIGKILL
        port = own.server.rpartition(":")[2]
    (tmp_path / "next").mkdir()
    async with process(checkpoint, tmp_path / "next", "--port", port) as (own, channel):
        assert own.server.endswith(port) and await health(channel) == {SERVING}
