"""Several processes behind one face: who gets a speech, and what a process that goes leaves to the others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from engine.api.errors import EngineFailed
from engine.remote.replicas import ReplicatedEngine
from tests.engine.speaking import listen, speak, until
from tests.engine.test_loop import TEXT, endless, request

from .split import Split, connected, replicated, split
from .test_refusals import CLONE, rest

__all__ = ["endless"]  # a fixture


@asynccontextmanager
async def pair(kind: str = "1.7B-CustomVoice") -> AsyncIterator[tuple[Split, Split, ReplicatedEngine]]:
    """Two processes of one checkpoint, with room for eight speeches each."""
    room = {"max_speeches": 4, "max_queue": 4}
    async with split("at once", kind, **room) as one, split("at once", kind, **room) as other:
        yield one, other, replicated(one.client, other.client)


def loads(*halves: Split) -> list[int]:
    return [half.client.speeches("fake") for half in halves]


async def test_a_speech_goes_where_the_fewest_are() -> None:
    async with pair() as (one, other, engine), AsyncExitStack() as stack:
        speeches = [engine.open(request()) for _ in range(6)]  # before either process has said a word
        for speech in speeches:
            await stack.enter_async_context(speech)
        assert loads(one, other) == [3, 3]
        await until(lambda: (one.server.speeches, other.server.speeches) == (3, 3))
        for speech in speeches[:6:2]:  # those of the first process
            await speech.__aexit__(None, None, None)
        await until(lambda: loads(one, other) == [0, 3])
        for _ in range(3):
            await stack.enter_async_context(engine.open(request()))
        assert loads(one, other) == [3, 3]


async def test_clients_know_of_each_others_speeches() -> None:
    async with pair() as (one, other, engine), connected(one.path) as first, connected(other.path) as second:
        mine = replicated(first, second)
        async with mine.open(request()), mine.open(request()), mine.open(request()):
            await until(lambda: loads(one, other) == [2, 1])
            async with engine.open(request()):
                await until(lambda: (first.speeches("fake"), second.speeches("fake")) == (2, 2))


@pytest.mark.usefixtures("endless")
async def test_a_process_that_stops_accepting_ends_what_it_has_and_gets_no_more() -> None:
    async with pair() as (one, other, engine):
        async with engine.open(request(frames=40)) as speech:
            await until(lambda: one.server.speeches == 1)
            one.server.stop_accepting()
            later = engine.open(request(frames=5))  # sent before the word of it came
            await until(lambda: not one.client.accepting)
            assert one.changes == [True, False] and engine.available
            async with later:
                later.feed(TEXT)
                later.end()
                assert (await listen(later)).end.frames == 5
            assert (await speak(engine, request(frames=5), TEXT)).end.frames == 5
            speech.feed(TEXT)
            speech.end()
            assert (await listen(speech)).end.frames == 40
        other.server.stop_accepting()
        await until(lambda: not engine.available)
        with pytest.raises(EngineFailed, match="no engine of fake is there"):
            engine.open(request())


async def test_the_loss_of_one_process_fails_its_speeches_alone() -> None:
    async with (
        pair() as (one, other, engine),
        engine.open(request(frames=5)) as lost,
        engine.open(request(frames=5)) as kept,
    ):
        await until(lambda: (one.server.speeches, other.server.speeches) == (1, 1))
        await one.server.close()
        with pytest.raises(EngineFailed):
            await asyncio.wait_for(rest(lost), 5)
        async with engine.open(request(frames=5)) as further:
            for speech in (kept, further):
                speech.feed(TEXT)
                speech.end()
                assert (await listen(speech)).end.frames == 5


async def test_every_process_is_primed_and_one_clones() -> None:
    async with pair("0.6B-Base") as (one, other, engine):
        primed: list[str] = []
        for half, name in ((one, "one"), (other, "other")):
            half.rig.cloner.prime = lambda voice, name=name: primed.append(name)  # type: ignore[method-assign,misc]
        await engine.prime(await engine.clone(CLONE))
        assert sorted(primed) == ["one", "other"]
        await one.server.close()
        await until(lambda: not one.client.accepting)
        await engine.prime(await engine.clone(CLONE))
        assert sorted(primed) == ["one", "other", "other"]


async def test_a_wait_is_asked_where_the_next_speech_goes() -> None:
    async with pair() as (one, other, engine), AsyncExitStack() as stack:
        for _ in range(7):
            await stack.enter_async_context(engine.open(request()))
        await until(lambda: loads(one, other) == [4, 3])
        assert await asyncio.wait_for(engine.queue_wait(), 5) == 0.0
        await stack.enter_async_context(engine.open(request()))
        await until(lambda: loads(one, other) == [4, 4])
        assert await engine.queue_wait() == await one.rig.engine.queue_wait()
