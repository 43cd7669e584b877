"""One server of four processes, and what is done to it: each fault ends what it must, and nothing else."""

import asyncio
import hashlib
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from qwentts_client.v1 import tts_pb2 as pb
from qwentts_client.v1 import tts_pb2_grpc
from tests.faults import test_storm as storm
from tests.service.conftest import Failure, decoded, failure, pcm, send, text
from tests.service.test_created_voices import upload
from tests.service.test_kinds import recording
from tests.service.test_lifecycle import SERVING, health

from .fleet import LOCAL, PATIENCE, Fleet, Samples, asked, channels, end, folder_of, speak, start, stop, until

pytestmark = pytest.mark.asyncio(loop_scope="session")

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
WATCHDOG = 4.0  # seconds
TENANT_LIMIT = 100
AUDIO = 6.5  # seconds of a turn that lasts for one and a half: synthesis is at most five ahead


@pytest.fixture(scope="module")
def denied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("denied") / "list"
    path.write_text("")
    return path


@pytest.fixture(scope="module")
def server(models: list[Path], denied: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    log = tmp_path_factory.mktemp("log") / "log"
    limits = ("--max-speeches", "32", "--tenant-key", "x-tenant", "--tenant-limit", str(TENANT_LIMIT))
    fleet = start(models, log, *limits, "--watchdog-seconds", str(WATCHDOG), "--denied-recordings", str(denied))
    yield fleet
    end(fleet)


@pytest_asyncio.fixture(loop_scope="session")
async def fleet(server: Fleet) -> AsyncIterator[Fleet]:
    """The server; afterwards it is whole, and holds nothing."""
    yield server
    await server.whole()
    await server.idle()


async def opened(channel: grpc.aio.Channel, seed: int, pause: float, audio: float = 60.0) -> Any:
    """A turn that has its slot, and whose text ends after `pause` seconds."""
    stub = tts_pb2_grpc.TTSServiceStub(channel)
    requests = [asked(seed, audio), text("Word after word. " * 200), pause, text(" The end.")]
    call = aiter(stub.Synthesize(send(requests), timeout=60))
    await anext(call)
    return call


async def read(call: Any) -> tuple[bytes, Failure | None, float]:
    """Audio of a turn, how it failed, when it ended."""
    responses = []
    try:
        async for response in call:
            responses.append(response)
    except grpc.aio.AioRpcError as error:
        return pcm(responses), decoded(error), time.monotonic()
    assert responses[-1].HasField("summary")
    return pcm(responses), None, time.monotonic()


async def test_turns_go_through_every_process(fleet: Fleet) -> None:
    async with channels(fleet.own.server, 12) as callers:
        heard = await asyncio.gather(*(speak(caller, seed) for caller in callers for seed in (1, 2)))
        assert len(set(heard)) == 2
        assert await health(callers[0]) == {SERVING}
        turns = await asyncio.gather(*(opened(caller, 3, 30.0, AUDIO) for caller in callers))
        assert [fleet.connections(front) > 0 for front in fleet.fronts] == [True, True]
        running = await fleet.samples()
        assert running["tts_engine_sequences_running", ()] == 12
        assert running["tts_engine_slots", ()] == 2 * 2 * 32
        assert running["tts_ready", ()] == 1
        assert all(error is None for _, error, _ in await asyncio.gather(*map(read, turns)))
    assert await fleet.total("tts_requests_total", method="Synthesize", outcome="length") >= 36


def assert_never_fell(before: Samples, after: Samples) -> None:
    for key, value in before.items():
        if key[0].endswith(("_total", "_count", "_bucket")) and not key[0].startswith("process_"):
            assert after.get(key, -1) >= value, key


@pytest.mark.timing
@pytest.mark.parametrize("pause", [0.0, 0.15])
async def test_a_killed_engine_ends_its_turns_alone_and_comes_back(fleet: Fleet, pause: float) -> None:
    seeds = range(5, 21)
    async with channels(fleet.own.server, 4) as callers:
        heard = await asyncio.gather(*(speak(callers[0], seed, AUDIO) for seed in seeds))
        alone = dict(zip(seeds, heard, strict=True))
        before = await fleet.samples()
        calls = await asyncio.gather(*(opened(callers[seed % 4], seed, 30.0, AUDIO) for seed in seeds))
        reading = [asyncio.create_task(read(call)) for call in calls]
        await asyncio.sleep(pause)
        pid = fleet.engine(0).pid
        fleet.engine(0).kill()
        killed = time.monotonic()
        ends = await asyncio.gather(*reading)
        lost = [(error, at - killed) for _, error, at in ends if error is not None]
        assert 4 <= len(lost) <= 12
        for error, seconds in lost:
            assert (error.code, error.reason) == (UNAVAILABLE, "ENGINE_FAILED")
            assert error.message and error.retry_milliseconds and seconds < 1.0
        for seed, (audio, failed, _) in zip(seeds, ends, strict=True):
            assert failed is not None or audio == alone[seed]
        assert_never_fell(before, await fleet.samples())
        assert await speak(callers[1], 5, AUDIO) == alone[5]  # the other engine goes on
    await fleet.whole()
    assert fleet.engine(0).pid != pid
    after = await fleet.samples()
    assert_never_fell(before, after)
    key = ("tts_process_restarts_total", (("role", "engine"),))
    assert after[key] == before[key] + 1
    assert after["tts_process_ready", (("role", "engine"),)] == 2


async def test_a_killed_front_takes_its_connections_alone(fleet: Fleet) -> None:
    before = {front.pid: fleet.connections(front) for front in fleet.fronts}
    async with channels(fleet.own.server, 12) as callers:
        calls = await asyncio.gather(*(opened(caller, 7, 30.0, AUDIO) for caller in callers))
        front, held = max(
            ((each, fleet.connections(each) - before[each.pid]) for each in fleet.fronts), key=lambda pair: pair[1]
        )
        reading = [asyncio.create_task(read(call)) for call in calls]
        front.kill()
        ends = await asyncio.gather(*reading)
        lost = [error for _, error, _ in ends if error is not None]
        assert len(lost) == held and {error.code for error in lost} == {UNAVAILABLE}
        assert len({audio for audio, error, _ in ends if error is None}) <= 1
        await fleet.idle()  # the dead front's speeches are gone from both engines


@pytest.mark.timing
async def test_a_stopped_engine_is_killed_and_started_again(fleet: Fleet) -> None:
    engine = fleet.engine(1)
    async with channels(fleet.own.server, 2) as callers:
        calls = [await opened(callers[number % 2], 9, 60.0) for number in range(4)]
        engine.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        reading = [asyncio.create_task(read(call)) for call in calls]
        done, left = await asyncio.wait(reading, timeout=WATCHDOG + 6, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep(0.5)
        ended = [task.result() for task in reading if task.done()]
        assert len(ended) == 2 and done and left
        for _, error, at in ended:
            assert error is not None and (error.code, error.reason) == (UNAVAILABLE, "ENGINE_FAILED")
            assert WATCHDOG - 1 < at - began < WATCHDOG + 6
        for task in reading:
            task.cancel()


async def test_a_rolling_restart_loses_no_turn(fleet: Fleet) -> None:
    pids = [fleet.engine(index).pid for index in range(2)]
    rolled = False

    async def rolled_out() -> bool:
        try:
            return not {fleet.engine(index).pid for index in range(2)} & set(pids)
        except ValueError:
            return False

    async def caller(number: int) -> list[bytes]:
        heard = []
        async with grpc.aio.insecure_channel(fleet.own.server, LOCAL) as channel:
            while not rolled:
                heard.append(await speak(channel, 1, 0.4))
                await asyncio.sleep(0.01 * number)
        return heard

    speaking = [asyncio.create_task(caller(number)) for number in range(6)]
    fleet.own.process.send_signal(signal.SIGUSR2)
    fleet.own.process.send_signal(signal.SIGUSR2)
    await until(rolled_out, bool)
    await asyncio.sleep(0.3)
    rolled = True
    heard = [audio for each in await asyncio.gather(*speaking) for audio in each]
    assert len(heard) > 6 and len(set(heard)) == 1


async def test_a_storm_of_cancels_leaves_nothing(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    class Server:
        address = fleet.own.server

    async def one(seed: int) -> bytes | None:
        return await storm.one(Server(), seed)  # type: ignore[arg-type]

    survivors = [seed for seed in range(storm.STREAMS) if storm.WAYS[seed % len(storm.WAYS)] == "survives"]
    alone = {seed: await one(seed) for seed in survivors[:4]}
    heard = await asyncio.gather(*map(one, range(storm.STREAMS)))
    assert {seed: heard[seed] for seed in alone} == alone
    assert all(heard[seed] for seed in survivors)
    await fleet.idle()


async def test_a_created_voice_is_known_at_once_everywhere(fleet: Fleet) -> None:
    async with channels(fleet.own.server, 8) as callers:
        voices = [tts_pb2_grpc.VoiceServiceStub(caller) for caller in callers]
        await voices[0].CreateVoice(upload("anna"), timeout=30)

        async def heard(caller: grpc.aio.Channel) -> bytes:
            request = asked(1, 0.4)
            request.config.voice = "anna"
            call = tts_pb2_grpc.TTSServiceStub(caller).Synthesize(send([request, text("Hello.")]), timeout=30)
            return pcm([response async for response in call])

        assert len(set(await asyncio.gather(*map(heard, callers)))) == 1
        fleet.engine(0).kill()
        await fleet.whole()
        assert len(set(await asyncio.gather(*map(heard, callers)))) == 1
        await voices[1].DeleteVoice(pb.DeleteVoiceRequest(name="anna"))
        for caller in callers:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await heard(caller)
            assert raised.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_reload_reaches_every_front(fleet: Fleet, denied: Path) -> None:
    async with channels(fleet.own.server, 8) as callers:
        voices = [tts_pb2_grpc.VoiceServiceStub(caller) for caller in callers]
        denied.write_text(hashlib.sha256(recording()).hexdigest() + "\n")
        fleet.own.process.send_signal(signal.SIGHUP)

        async def refused() -> Counter[bool]:
            said = [await _create(each) for each in voices]
            return Counter(each is not None and each.reason == "RECORDING_DENIED" for each in said)

        await until(refused, lambda seen: seen == {True: 8})
        denied.write_text("")
        fleet.own.process.send_signal(signal.SIGHUP)
        await until(refused, lambda seen: seen == {False: 8})


async def _create(voices: Any) -> Failure | None:
    try:
        await voices.CreateVoice(upload("bob"), timeout=30)
    except grpc.aio.AioRpcError as error:
        return decoded(error)
    await voices.DeleteVoice(pb.DeleteVoiceRequest(name="bob"))
    return None


async def test_a_limit_of_tenants_counts_over_all_fronts(fleet: Fleet) -> None:
    mine = (("x-tenant", "mine"),)
    async with channels(fleet.own.server, 10) as callers:
        stubs = [tts_pb2_grpc.TTSServiceStub(caller) for caller in callers]

        def turn(number: int) -> Any:
            requests = [asked(1, 60.0), text("Word after word. "), 30.0]
            return stubs[number % 10].Synthesize(send(requests), metadata=mine, timeout=60)

        calls = [turn(number) for number in range(TENANT_LIMIT)]
        await asyncio.gather(*(call.read() for call in calls))
        assert all(fleet.connections(front) for front in fleet.fronts)
        for number in range(10):
            refused = await failure(turn(number))
            assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TENANT_LIMIT")
        for call in calls:
            call.cancel()
        await fleet.idle()
        await speak(callers[0], 1)


async def test_sigterm_lets_turns_end_and_leaves_nothing(server: Fleet) -> None:
    """The module's last: the server ends."""
    folder = folder_of(server.own.process.pid)
    children = server.supervisor.children(recursive=True)
    async with channels(server.own.server, 8) as callers:
        calls = await asyncio.gather(*(opened(caller, 3, 30.0, AUDIO) for caller in callers))
        reading = [asyncio.create_task(read(call)) for call in calls]
        stop(server)
        await until(lambda: health_of(callers[0]), lambda states: states != {SERVING}, 5.0)
        for caller in callers[:4]:
            late = await failure(tts_pb2_grpc.TTSServiceStub(caller).Synthesize(send([asked(1, 1.0)])))
            assert (late.code, late.reason) == (UNAVAILABLE, "DRAINING")
        assert [error for _, error, _ in await asyncio.gather(*reading) if error] == []
    assert await asyncio.to_thread(server.own.process.wait, PATIENCE) == 0
    assert not [child for child in children if child.is_running() and child.status() != "zombie"]
    assert not folder.exists()
    log = server.own.log.read_text()
    assert "Traceback" not in log and "never retrieved" not in log


async def health_of(channel: grpc.aio.Channel) -> set[int]:
    return await health(channel)
