"""Decoders: few processes of their own, behind a bounded queue; whatever one of them does costs one call."""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import numpy as np
import psutil
import pytest

from engine.api.errors import Busy, EngineError, GenerationFailed, InvalidRequest
from qwentts_grpc.recordings import decoder, decoder_pool
from qwentts_grpc.recordings.decode import decode_recording
from qwentts_grpc.recordings.decoder_pool import DecoderPool
from qwentts_grpc.wire.limits import RecordingLimits

from .files import KINDS, by_sndfile, voice

LIMITS = RecordingLimits()
GOOD = by_sndfile(voice(2.0), form="FLAC")


@asynccontextmanager
async def pool(timeout: float = 20.0) -> AsyncIterator[DecoderPool]:
    made = DecoderPool(LIMITS, timeout)
    try:
        yield made
    finally:
        await made.close()
        assert not workers()


def workers() -> list[psutil.Process]:
    alive = (process for process in psutil.Process().children() if process.status() != psutil.STATUS_ZOMBIE)
    return [process for process in alive if "multiprocessing.resource_tracker" not in " ".join(process.cmdline())]


@pytest.fixture
def rogue(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(decoder, "COMMAND", [sys.executable, "-m", "tests.audio.rogue_worker"])
    yield


async def refused(pool: DecoderPool, data: bytes) -> EngineError:
    with pytest.raises(EngineError) as error:
        await pool.decode(data)
    return error.value


async def test_a_process_that_can_open_nothing_reads_every_kind_of_file() -> None:
    async with pool() as decoders:
        for make, rate, _ in KINDS.values():
            data = make(voice(1.5, rate))
            recording, expected = await decoders.decode(data), decode_recording(data, LIMITS)
            assert np.array_equal(recording.samples, expected.samples) and recording.remarks == expected.remarks


async def test_refusals_and_remarks_come_back() -> None:
    async with pool() as decoders:
        error = await refused(decoders, b"no recording")
        assert isinstance(error, InvalidRequest) and error.field == "reference.audio"
        assert (await refused(decoders, by_sndfile(voice(0.5)))).reason == "REFERENCE_DURATION"
        assert "bytes" in str(await refused(decoders, bytes(LIMITS.bytes + 1)))
        assert ["quiet" in remark for remark in (await decoders.decode(by_sndfile(0.03 * voice()))).remarks] == [True]
        assert len(workers()) == 1


async def test_two_at_once_and_in_processes_that_stay() -> None:
    async with pool() as decoders:
        await decoders.start()
        first = workers()
        await asyncio.gather(*(decoders.decode(GOOD) for _ in range(20)))
        both = workers()
        assert len(both) == 2 and first[0] in both
        await asyncio.gather(*(decoders.decode(GOOD) for _ in range(20)))
        assert workers() == both


@pytest.mark.parametrize(
    ("order", "said"),
    [
        (b"spin", "takes more than 4 s of processor time"),
        (b"die", "its decoder broke down"),
        (b"raise", "its decoder broke down"),
        (b"long", "its decoder broke down"),
        (b"words", "its decoder broke down"),
        (b"junk", "its decoder broke down"),
        (b"eat", "takes too much memory"),
    ],
)
async def test_a_decoder_that_breaks_costs_one_call_and_is_replaced(rogue: None, order: bytes, said: str) -> None:
    async with pool(timeout=60.0) as decoders:
        neighbour = asyncio.create_task(decoders.decode(GOOD))
        error = await refused(decoders, order)
        assert isinstance(error, InvalidRequest) and said in str(error)
        await neighbour
        for _ in range(4):
            assert len((await decoders.decode(GOOD)).samples) == 48_000


@pytest.mark.parametrize("order", [b"hang", b"exit"])
async def test_a_decoder_that_never_answers_is_given_up(rogue: None, order: bytes) -> None:
    async with pool(timeout=0.5) as decoders:
        await decoders.start()
        start = time.monotonic()
        assert isinstance(await refused(decoders, order), GenerationFailed)
        assert time.monotonic() - start < 30.0
        decoders.timeout = 60.0
        assert len((await decoders.decode(GOOD)).samples) == 48_000


async def test_a_decoder_can_open_neither_file_nor_socket(rogue: None) -> None:
    async with pool() as decoders:
        assert str(await refused(decoders, b"touch")) == "reference.audio: "


@pytest.mark.parametrize("whom", ["program", "fork"])
async def test_one_killed_while_it_is_idle_is_replaced_unnoticed(whom: str) -> None:
    async with pool() as decoders:
        await decoders.start()
        program = workers()[0]
        victim = program if whom == "program" else await forked(program)
        victim.send_signal(signal.SIGKILL)
        await asyncio.to_thread(psutil.wait_procs, [program], 2)
        assert len((await decoders.decode(GOOD)).samples) == 48_000


async def working(decoders: DecoderPool, count: int) -> list[psutil.Process]:
    """Workers of the pool, once `count` have begun."""
    while len(decoders._decoders) < count:
        await asyncio.sleep(0.01)
    return workers()


async def forked(program: psutil.Process) -> psutil.Process:
    while not (forks := program.children()):
        await asyncio.sleep(0.01)
    return forks[0]


async def test_nothing_of_one_recording_is_left_for_the_next() -> None:
    async with pool() as decoders:
        await decoders.start()
        before = await forked(workers()[0])
        await decoders.decode(GOOD)
        while before.is_running() and before.status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(0.01)


async def test_memory_is_back_after_the_largest() -> None:
    largest = by_sndfile(np.stack([np.tile(voice(2.0, 192_000), 30)] * 2, axis=1), 192_000, "FLAC", "PCM_S8")
    async with pool() as decoders:
        await decoders.start()
        program = workers()[0]
        before = program.memory_info().rss
        for _ in range(2):
            assert len((await decoders.decode(largest)).samples) == 60 * 24_000
        assert workers() == [program] and program.memory_info().rss - before < 5 * 2**20


async def test_more_than_may_wait_are_refused_with_a_time_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder_pool, "MAX_RECORDINGS", 5)
    async with pool() as decoders:
        results = await asyncio.gather(*(decoders.decode(GOOD) for _ in range(8)), return_exceptions=True)
        busy = [result for result in results if isinstance(result, Busy)]
        assert len(busy) == 3 and all(0 < error.retry_after < 5 for error in busy)
        await decoders.decode(GOOD)


async def test_who_gives_up_while_waiting_frees_a_place(rogue: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder_pool, "MAX_RECORDINGS", 3)
    async with pool(timeout=60.0) as decoders:
        hanging = [asyncio.create_task(refused(decoders, b"hang")) for _ in range(2)]
        waiting = asyncio.create_task(decoders.decode(GOOD))
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await decoders.decode(GOOD)
        waiting.cancel()
        await asyncio.sleep(0)
        waiting = asyncio.create_task(decoders.decode(GOOD))
        for program in await working(decoders, 2):
            for process in (*program.children(), program):
                process.kill()
        await asyncio.gather(*hanging)
        assert len((await waiting).samples) == 48_000


async def test_who_gives_up_while_it_is_decoded_harms_nobody() -> None:
    async with pool() as decoders:
        await decoders.start()
        program = workers()[0]
        for delay in (0.0, 0.001, 0.002, 0.004, 0.008):
            task = asyncio.create_task(decoders.decode(GOOD))
            await asyncio.sleep(delay)
            task.cancel()
            await asyncio.wait((task,))
        assert len((await decoders.decode(GOOD)).samples) == 48_000
        assert program in workers()


async def test_tenants_take_turns() -> None:
    order: list[str] = []

    async def decode(decoders: DecoderPool, tenant: str) -> None:
        await decoders.decode(GOOD, tenant)
        order.append(tenant)

    async with pool() as decoders:
        await decoders.start()
        many = [asyncio.create_task(decode(decoders, "many")) for _ in range(20)]
        await asyncio.sleep(0)
        await decode(decoders, "one")
        assert len(order) < 8
        await asyncio.gather(*many)


async def test_closing_waits_for_none_of_them(rogue: None) -> None:
    decoders = DecoderPool(LIMITS)
    hanging = [asyncio.create_task(decoders.decode(order)) for order in (b"hang", b"spin")]
    await working(decoders, 2)
    start = time.monotonic()
    await decoders.close()
    results = await asyncio.gather(*hanging, return_exceptions=True)
    assert time.monotonic() - start < 10.0 and not workers()
    assert all(isinstance(result, EngineError) for result in results)


async def test_a_worker_ends_with_its_server() -> None:
    async with pool() as decoders:
        await decoders.start()
        (program,) = workers()
        family = [program, await forked(program)]
        for process in decoders._decoders:
            process._connection.shutdown(socket.SHUT_RDWR)
        assert not (await asyncio.to_thread(psutil.wait_procs, family, 2))[1]


async def test_a_fork_does_not_outlive_a_program_that_somebody_kills(rogue: None) -> None:
    async with pool(timeout=1.0) as decoders:
        await decoders.start()
        (program,) = workers()
        fork = await forked(program)
        error = asyncio.create_task(refused(decoders, b"hang"))
        await asyncio.sleep(0.1)
        program.kill()
        assert isinstance(await error, GenerationFailed | InvalidRequest)
        assert not (await asyncio.to_thread(psutil.wait_procs, [fork], 2))[1]


async def test_a_decoder_that_does_not_start_costs_one_typed_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async with pool() as decoders:
        for command in (["/nonexistent"], [sys.executable, "-c", "0"]):
            with monkeypatch.context() as patched:
                patched.setattr(decoder, "COMMAND", command)
                await decoders.start()  # leaves it to the first recording
                assert isinstance(await refused(decoders, GOOD), GenerationFailed)
        assert len((await decoders.decode(GOOD)).samples) == 48_000


async def test_a_worker_takes_no_notice_of_sigterm() -> None:
    async with pool() as decoders:
        await decoders.start()
        (program,) = workers()
        for process in (program, await forked(program)):
            process.send_signal(signal.SIGTERM)
        assert len((await decoders.decode(GOOD)).samples) == 48_000
        assert workers() == [program]


async def test_secrets_of_the_environment_stay_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QWENTTS_SECRET", "zq")
    async with pool() as decoders:
        await decoders.start()
        assert "QWENTTS_SECRET" not in workers()[0].environ()


async def test_descriptors_are_given_back(rogue: None) -> None:
    async with pool(timeout=0.3) as decoders:
        await decoders.start()
        before = len(os.listdir("/proc/self/fd"))
        for order in (b"die", b"hang", b"junk", b"die"):
            await refused(decoders, order)
        decoders.timeout = 60.0
        await decoders.decode(GOOD)
        assert len(os.listdir("/proc/self/fd")) == before
