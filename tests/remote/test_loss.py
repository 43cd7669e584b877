"""Connections that break, peers that talk nonsense or read nothing: an end for whom it concerns, for nobody else."""

import asyncio
import socket
import struct
import time

import pytest

from engine.api.errors import EngineFailed
from engine.api.events import AudioChunk, FinishReason
from engine.remote.client import ProcessClient
from engine.remote.link import HEAD
from engine.remote.messages import TYPES, Coder, End, Load, Models, Open, Text
from engine.remote.server import EngineServer
from tests.engine.speaking import listen, speak, until
from tests.engine.test_loop import SILENCE, TEXT, endless, no_housekeeping, request

from .split import Split, connected, replicated, split
from .test_refusals import CLONE, rest

__all__ = ["endless", "no_housekeeping"]  # fixtures


async def lose(made: Split) -> None:
    """Break all connections of the server."""
    for client in tuple(made.server._clients):
        client.link.abort()


@pytest.mark.usefixtures("endless")
async def test_a_lost_connection_ends_its_speeches_at_once_on_both_sides() -> None:
    async with split() as made:
        waiting = made.engine.open(request())
        async with waiting, made.engine.open(request()) as speech:
            speech.feed(TEXT * 3)
            while not isinstance(await anext(speech), AudioChunk):
                pass
            await lose(made)
            for each in (speech, waiting):
                with pytest.raises(EngineFailed, match="process has ended"):
                    await asyncio.wait_for(rest(each), 5)
                assert each.over
            speech.feed("to nobody")  # while its caller does not know yet
            speech.cancel()
            await until(lambda: made.server.speeches == 0)
            assert made.unread == 0
        await until(lambda: made.client.accepting)
        assert made.changes == [True, False, True]
        assert (await speak(made.engine, request(frames=5), TEXT)).end.frames == 5


async def test_questions_end_with_the_connection() -> None:
    async with split("at once", "0.6B-Base") as made:
        made.rig.cloner.gate.clear()
        waiting = asyncio.create_task(made.engine.clone(CLONE))
        await until(lambda: any(client._questions for client in made.server._clients))
        await lose(made)
        with pytest.raises(EngineFailed, match="process has ended"):
            await asyncio.wait_for(waiting, 5)
        for late in (made.engine.clone(CLONE), made.engine.queue_wait(), made.engine.check(request())):
            with pytest.raises(EngineFailed, match="no engine of fake"):
                await late
        with pytest.raises(EngineFailed, match="no engine of fake"):
            made.engine.open(request())
        made.rig.cloner.gate.set()
        await until(lambda: made.client.accepting)
        assert (await made.engine.clone(CLONE)).codes is not None


async def test_a_process_that_comes_back_is_used_again() -> None:
    async with split() as made:
        await made.server.close()
        await until(lambda: not made.client.accepting)
        assert not made.engine.available and not made.client.models
        again = EngineServer([made.rig.engine], made.rig.engine._config)
        await again.start(made.path)
        await until(lambda: made.client.accepting)
        assert (await speak(made.engine, request(frames=5), TEXT)).end.frames == 5
        assert again.speeches == 0
        await again.close()
        await until(lambda: not made.client.accepting)


@pytest.mark.usefixtures("endless")
async def test_a_client_that_goes_takes_its_own_speeches_alone() -> None:
    async with split() as made, made.engine.open(request(frames=60)) as speech:
        speech.feed(TEXT)
        speech.end()
        async with connected(made.path) as other:
            going = replicated(other).open(request())
            going.feed(TEXT)
            await anext(going)
            assert made.server.speeches == 2
        await until(lambda: made.server.speeches <= 1)
        assert (await listen(speech)).end.frames == 60


def frame(kind: int, body: bytes, number: int = 1) -> bytes:
    return HEAD.pack(len(body), kind, number) + body


def message(value: object, number: int = 1) -> bytes:
    kind, body = Coder(TYPES).encode(value)
    return frame(kind, body, number)


BAD = {
    "a huge length": struct.pack("<IBQ", 2**31, 0, 1),
    "an unknown type": frame(250, b"\xc0"),
    "no msgpack": frame(0, b"\xc1\xc1\xc1"),
    "another type": frame(0, b"\x93\x01\x02\x03"),
    "half a body": frame(0, message(Open("fake", request(reference=CLONE), 0.0))[HEAD.size : -1]),
    "HTTP": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 9,
    "zeros": bytes(200),
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
async def test_nonsense_ends_its_connection_alone(data: bytes) -> None:
    async with split() as made, made.engine.open(request()) as speech:
        speech.feed(TEXT)
        await anext(speech)
        reader, writer = await asyncio.open_unix_connection(str(made.path))
        writer.write(message(Open("fake", request(), 0.0), 7) + data)
        await asyncio.wait_for(reader.read(), 5)  # to its end
        writer.close()
        await until(lambda: made.server.speeches == 1)
        speech.end()
        assert [event async for event in speech]


@pytest.mark.parametrize("cut", [1, 5, 13, 14, 40, 1_000])
async def test_messages_in_pieces_of_any_size(cut: int) -> None:
    async with split() as made:
        reader, writer = await asyncio.open_unix_connection(str(made.path))
        sent = message(Open("fake", request(frames=3), 0.0), 7) + message(Text(TEXT, 0.0), 7)
        for start in range(0, len(sent), cut):
            writer.write(sent[start : start + cut])
            await writer.drain()
            if len(sent) < 200 * cut:
                await asyncio.sleep(0)
        await until(lambda: made.unread == 3)
        writer.close()
        await until(lambda: len(made.server._clients) == 1)
        assert b"fake" in await reader.read()


async def test_a_greeting_comes_first_then_the_load() -> None:
    async with split() as made:
        reader, writer = await asyncio.open_unix_connection(str(made.path))
        coder, seen = Coder(TYPES), []
        for _ in range(2):
            length, kind, _ = HEAD.unpack(await reader.readexactly(HEAD.size))
            seen.append(coder.decode(kind, await reader.readexactly(length)))
        assert isinstance(seen[0], Models) and seen[0].models[0].card == made.rig.engine.card
        assert seen[0].models[0].slots == 2 and seen[0].models[0].queue == 2
        assert seen[1] == Load({"fake": 0}, 0, True)
        writer.close()


async def test_numbers_of_nobody_are_ignored() -> None:
    async with split() as made:
        reader, writer = await asyncio.open_unix_connection(str(made.path))
        for kind in TYPES:
            if kind.__name__ in ("Text", "Flush", "End", "Cancel", "Close", "Taken", "Done", "Wait"):
                values = {"Text": ("x", 0.0), "Flush": ("x", 0.0), "End": (0.0,), "Taken": (0.0,) * 3, "Wait": (0.0,)}
                writer.write(message(kind(*values.get(kind.__name__, ())), 99))
        writer.write(message(Open("fake", request(), 0.0), 5) * 2)  # a number twice
        await until(lambda: any(client.opened == 2 for client in made.server._clients))
        await until(lambda: made.server.speeches == 0)
        assert (await speak(made.engine, request(frames=3), TEXT)).end.reason is FinishReason.LENGTH
        writer.close()
        await reader.read()


@pytest.mark.usefixtures("endless")
async def test_a_peer_that_reads_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.remote.link.MOST_UNSENT", 100_000)
    async with split(max_unread_seconds=3_600.0) as made:
        with socket.socket(socket.AF_UNIX) as deaf:
            deaf.connect(str(made.path))
            deaf.setblocking(False)
            deaf.sendall(message(Open("fake", request(), 0.0), 7) + message(Text(TEXT, 0.0), 7) + message(End(0.0), 7))
            await until(lambda: len(made.server._clients) == 2)
            await until(lambda: len(made.server._clients) == 1)
        await until(lambda: made.server.speeches == 0)
        assert made.unread == 0


async def test_a_client_waits_for_a_process_that_is_not_there_yet() -> None:
    async with split() as made:
        late = made.path.with_name("late")
        client = ProcessClient(late)
        running = asyncio.create_task(client.run())
        await asyncio.sleep(0.1)
        with pytest.raises(EngineFailed):
            await client.ask(Load({}, 0, True), Load, 0.05)
        late.symlink_to(made.path)
        began = time.monotonic()
        await until(lambda: client.accepting)
        assert time.monotonic() - began < 5
        running.cancel()
        await asyncio.wait((running,))


async def test_a_recording_comes_whole() -> None:
    assert len(message(Open("fake", request(reference=CLONE), 0.0))) > SILENCE.nbytes
