"""Refusals and questions through the socket: the errors of the engine, with all that they say."""

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest

from engine.api import errors
from engine.api.client import EngineClient, SpeechClient
from engine.api.errors import Busy, EngineError, EngineFailed, InvalidRequest, Unsupported, VoiceNotFound
from engine.api.events import Event
from engine.api.request import Delivery, Reference, Sampling, SamplingParams, SpeechRequest
from engine.api.voice import Voice
from engine.remote.messages import TYPES, Check, Coder, Done, Failure, Open
from tests.engine.speaking import listen, speak, until
from tests.engine.test_loop import SILENCE, TEXT, request

from .split import split

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, EngineError)]
MADE: dict[type[EngineError], Callable[[], EngineError]] = {
    InvalidRequest: lambda: InvalidRequest("sampling.top_p", "is out of range", "TEXT_EMPTY"),
    VoiceNotFound: lambda: VoiceNotFound("nobody"),
    Busy: lambda: Busy(2.5),
}
CLONE = Reference(SILENCE, "hello")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not EngineError])
def test_every_error_comes_through_whole(kind: type[EngineError]) -> None:
    error = MADE.get(kind, lambda: kind("one line"))()
    coder = Coder(TYPES)
    failure = coder.decode(*coder.encode(Failure.of(error)))
    assert isinstance(failure, Failure)
    again = failure.error()
    assert type(again) is kind and str(again) == str(error)
    assert again.__dict__ == error.__dict__ and again.reason == error.reason


def test_an_error_of_an_unknown_kind_is_a_fault() -> None:
    again = Failure("Another", "one line").error()
    assert type(again) is EngineFailed and str(again) == "one line"


@pytest.mark.parametrize(
    "wrong",
    [
        request(voice="nobody"),
        request(reference=CLONE),
        request(language="klingon"),
        request(sampling=Sampling(talker=SamplingParams(top_p=0.0))),
        request(delivery=Delivery(max_chunk_frames=13)),
        request(voice="ryan", reference=CLONE),
    ],
    ids=["voice", "capability", "language", "sampling", "delivery", "two voices"],
)
async def test_what_is_refused_there_is_refused_here(wrong: SpeechRequest) -> None:
    async with split() as made:
        refused = [
            await refusal(made.rig.engine.check(wrong)),
            await refusal(made.engine.check(wrong)),
            await refusal(first(made.engine, wrong)),
        ]
        assert len({(type(error), error.reason, getattr(error, "field", "")) for error in refused}) == 1
        if not isinstance(refused[0], VoiceNotFound):  # whose names are the catalogue's
            assert len(set(map(str, refused))) == 1


async def first(engine: EngineClient, asked: SpeechRequest) -> Event:
    async with engine.open(asked) as speech:
        speech.feed(TEXT)  # before the refusal comes
        return await anext(speech)


async def refusal(work: Coroutine[Any, Any, object]) -> EngineError:
    with pytest.raises(EngineError) as raised:
        await work
    return raised.value


async def rest(speech: SpeechClient) -> None:
    """Take what comes, to the end or the error."""
    async for _ in speech:
        pass


async def test_a_full_queue_refuses_and_recovers() -> None:
    async with split() as made:
        speeches = [made.engine.open(request()) for _ in range(4)]
        assert made.client.speeches("fake") == 4
        late = made.engine.open(request())
        with pytest.raises(Busy) as refused:
            await anext(late)
        assert refused.value.retry_after > 0
        async with late:
            assert late.over
        await until(lambda: made.client.speeches("fake") == 4)
        assert await made.engine.queue_wait("t") == await made.rig.engine.queue_wait("t")
        async with speeches[0]:
            speeches[0].cancel()
        for speech in speeches[1:]:
            async with speech:
                speech.feed(TEXT)
                speech.end()
                assert (await listen(speech)).codes.size
        await until(lambda: made.client.speeches("fake") == 0)
        assert await made.engine.queue_wait() == 0.0


async def test_who_waits_too_long_in_the_queue_is_refused() -> None:
    async with split(queue_timeout=0.1) as made:
        running = [made.engine.open(request()) for _ in range(2)]
        async with made.engine.open(request()) as waiting, running[0], running[1]:
            with pytest.raises(Busy):
                await listen(waiting)


async def test_a_recording_is_cloned_there() -> None:
    async with split("at once", "0.6B-Base") as made:
        voice = await made.engine.clone(CLONE)
        mine = await made.rig.engine.clone(CLONE)
        np.testing.assert_array_equal(voice.codes, mine.codes)
        np.testing.assert_array_equal(voice.embedding, mine.embedding)
        assert (voice.transcript, voice.scope) == (mine.transcript, mine.scope)
        with pytest.raises(InvalidRequest):
            await made.engine.clone(Reference(np.zeros(3, np.float32)))
        made.rig.cloner.error = Unsupported("of no use")
        assert str(await refusal(made.engine.clone(CLONE))) == "of no use"
        made.rig.cloner.error = ValueError("a broken recording")
        assert type(await refusal(made.engine.clone(CLONE))) is EngineFailed
        made.rig.cloner.error = None
        assert (await speak(made.engine, request(reference=CLONE), TEXT)).codes.size
        assert (await speak(made.engine, request(kept=voice), TEXT)).codes.size


async def test_a_kept_voice_is_primed_there() -> None:
    async with split("at once", "0.6B-Base") as made:
        primed: list[Voice] = []
        made.rig.cloner.prime = primed.append  # type: ignore[assignment,method-assign]
        voice = await made.engine.clone(CLONE)
        await made.engine.prime(voice)
        (kept,) = primed
        assert kept.codes is not None
        np.testing.assert_array_equal(kept.codes, voice.codes)
        wrong = Voice(embedding=np.zeros(3, np.float32))
        assert isinstance(await refusal(made.engine.prime(wrong)), Unsupported)


async def test_an_answer_that_does_not_come_is_a_fault() -> None:
    async with split("at once", "0.6B-Base") as made:
        made.rig.cloner.gate.clear()
        waiting = asyncio.create_task(made.engine.clone(CLONE))
        await until(lambda: any(client._questions for client in made.server._clients))
        assert str(await refusal(made.client.ask(Check("another", request()), Done, 5.0))).startswith(
            "the model is not"
        )
        await made.engine.check(request(reference=CLONE))
        made.rig.cloner.gate.set()
        assert (await waiting).codes is not None


async def test_more_questions_than_fit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.remote.server.MOST_QUESTIONS", 2)
    async with split("at once", "0.6B-Base") as made:
        made.rig.cloner.gate.clear()
        waiting = [asyncio.create_task(made.engine.clone(CLONE)) for _ in range(2)]
        await until(lambda: any(len(client._questions) == 2 for client in made.server._clients))
        assert "too many" in str(await refusal(made.engine.clone(CLONE)))
        made.rig.cloner.gate.set()
        await asyncio.gather(*waiting)


async def test_a_model_of_another_process_is_a_fault() -> None:
    async with split() as made:
        speech = made.client.open("another", request(), 0.0)
        async with speech:
            with pytest.raises(EngineFailed, match="not in this process"):
                await anext(speech)
        made.client._send(0, Open("another", request(), 0.0))  # a number that nobody asks about
