"""A speech through the socket: the same events, refusals and measures as from the engine itself."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from engine.api.client import EngineClient, SpeechClient
from engine.api.errors import EngineError, InputIdle, InvalidRequest, SlowConsumer, TextTooLong
from engine.api.events import AudioChunk, Event, Finished, FinishReason, Notice, NoticeCode, Started
from engine.api.lateness import LatenessTotals
from engine.api.request import Delivery, SpeechRequest, TextFilter, TextMode
from tests.engine.drive import FLAVOURS, Flavour
from tests.engine.speaking import Heard, listen, speak, until
from tests.engine.test_loop import TEXT, endless, no_housekeeping, request

from .split import split

__all__ = ["endless", "no_housekeeping"]  # fixtures

MARKUP = "# Hello **world**, how is [the light](http://x.org) of\n- this `morning`? &amp; more."
TIMES = dict.fromkeys(
    ("queue_wait", "time_to_first_audio", "total_time", "longest_gap", "server_first_audio", "work"), 0
)


def filtered(**fields: float) -> SpeechRequest:
    delivery = Delivery(text_mode=TextMode.INCREMENTAL, max_lead=1e4, text_filter=TextFilter.MARKUP, **fields)  # type: ignore[arg-type]
    return request(delivery=delivery)


def bare(event: Event) -> Event:
    """An event without what depends on time."""
    match event:
        case Finished():
            return replace(event, **TIMES, underruns=0, lateness=LatenessTotals())  # type: ignore[arg-type]
        case Started():
            return replace(event, queue_wait=0.0)
    return event


def assert_same(one: Heard, other: Heard) -> None:
    """Equal audio, and equal events around it."""
    np.testing.assert_array_equal(one.codes, other.codes)
    np.testing.assert_array_equal(one.pcm, other.pcm)
    assert one.marks == other.marks
    rest = [
        [bare(event) for event in heard.events if not isinstance(event, AudioChunk | Notice)] for heard in (one, other)
    ]
    assert rest[0] == rest[1]


async def say(engine: EngineClient, asked: SpeechRequest, pieces: Sequence[str | None]) -> Heard:
    """A speech of these pieces; None is a flush."""
    async with engine.open(asked) as speech:
        for number, piece in enumerate(pieces):
            if piece is None:
                speech.flush(f"mark {number}")
            else:
                speech.feed(piece)
            await asyncio.sleep(0)
        speech.end()
        return await listen(speech)


PIECES: tuple[list[str | None], ...] = (
    [TEXT],
    list(TEXT),
    [TEXT, None, None, "And ", "mo", "re.", None],
    [None, "你好, wor", "ld 👋🏽 and so", " on."],
)


@pytest.mark.parametrize("flavour", FLAVOURS)
async def test_the_same_events_as_from_the_engine(flavour: Flavour) -> None:
    async with split(flavour) as made:
        for pieces in PIECES:
            assert_same(await say(made.engine, request(), pieces), await say(made.rig.engine, request(), pieces))


async def test_markup_is_left_out_alike() -> None:
    async with split() as made:
        for pieces in ([MARKUP], list(MARKUP), [MARKUP[:30], None, MARKUP[30:]]):
            assert_same(await say(made.engine, filtered(), pieces), await say(made.rig.engine, filtered(), pieces))


@pytest.mark.parametrize("asked", [request(), filtered()], ids=["plain", "filtered"])
@pytest.mark.parametrize(
    "pieces", [["<b>", "</b>", "?"], ["*", "*a"], ["<", "x", None], [" ", "\n", "…", "1"], ["[", "]", "(x", ")", None]]
)
async def test_what_is_speakable_is_known_here_as_there(asked: SpeechRequest, pieces: Sequence[str | None]) -> None:
    async with split() as made:
        here, there = made.engine.open(asked), made.rig.engine.open(asked)
        async with here, there:
            for piece in pieces:
                for speech in (here, there):
                    speech.flush("mark") if piece is None else speech.feed(piece)
                assert here.speakable == there.speakable
            ends = [outcome(speech) for speech in (here, there)]
            assert ends[0] == ends[1]


def outcome(speech: SpeechClient) -> str:
    try:
        speech.end()
    except EngineError as error:
        return repr(error)
    return "ended"


async def test_text_at_the_wrong_time_or_too_much_of_it() -> None:
    async with split(max_text_characters=10) as made, made.engine.open(request()) as speech:
        with pytest.raises(InvalidRequest, match="nothing to speak"):
            speech.end()
        speech.feed("0123456789")
        with pytest.raises(TextTooLong):
            speech.feed("x")
        speech.end()
        speech.end()
        with pytest.raises(InvalidRequest):
            speech.feed("x")
        with pytest.raises(InvalidRequest):
            speech.flush("m")
        assert (await listen(speech)).end.text_characters == 10


async def test_facts_of_a_speech_are_known_at_once() -> None:
    async with split() as made:
        asked = request(frames=7, request_id="a1")
        async with made.engine.open(asked, 5.0) as speech:
            assert (speech.request_id, speech.seed, speech.limited, speech.over) == ("a1", 1, True, False)
            assert (speech.speakable, speech.text_came) == (False, 5.0)
        drawn = replace(asked, sampling=replace(asked.sampling, seed=None, max_frames=None))
        async with made.engine.open(drawn) as speech:
            assert not speech.limited
            speech.feed(TEXT)
            speech.end()
            assert (await listen(speech)).end.seed == speech.seed


async def test_the_time_of_the_text_is_that_of_its_caller() -> None:
    async with split() as made:
        arrived, came = time.monotonic() - 3.0, time.monotonic() - 2.0
        async with made.engine.open(request(), arrived) as speech:
            speech.feed(TEXT, came)
            speech.end(came)
            while not isinstance(await anext(speech), AudioChunk):
                assert speech.text_came == arrived
            assert speech.text_came == came
            end = (await heard_on(speech))[-1]
        assert isinstance(end, Finished)
        assert end.time_to_first_audio > 3.0 > 2.5 > end.time_to_first_audio - end.server_first_audio > 0.5


async def heard_on(speech: SpeechClient) -> list[Event]:
    return [event async for event in speech]


# ---- notices, ends


async def test_a_notice_comes_once_and_behind_the_start() -> None:
    async with split() as made, made.engine.open(request()) as speech:
        for _ in range(3):
            speech.notify(Notice(NoticeCode.DRAINING, "the server is about to stop"))
        speech.feed("Hello world, this is ")
        await until(lambda: made.rig.engine.state().parked == 1)
        speech.notify(Notice(NoticeCode.DRAINING, "again"))
        await asyncio.sleep(0.3)  # until the engine has seen that it waits
        speech.feed("more.")
        speech.end()
        heard = await listen(speech)
        assert sorted(heard.notices) == ["DRAINING", "TEXT_STARVED"]
        speech.notify(Notice(NoticeCode.PACED, "late"))
        with pytest.raises(StopAsyncIteration):
            await anext(speech)


@pytest.mark.parametrize("events", range(5))
@pytest.mark.usefixtures("endless")
async def test_a_cancel_at_any_moment_ends_with_what_is_queued(events: int) -> None:
    async with split() as made:
        made.rig.steps.seconds = 0.001
        async with made.engine.open(request()) as speech:
            speech.feed(TEXT)
            speech.flush("mark")
            taken = [await anext(speech) for _ in range(events)]
            speech.cancel()
            heard = Heard([*taken, *await heard_on(speech)])
            assert heard.end.reason is FinishReason.CANCELLED
            assert heard.of(AudioChunk)[-1].last
            assert speech.over
            speech.cancel()


@pytest.mark.usefixtures("endless")
async def test_leaving_drops_the_speech_however_early() -> None:
    async with split() as made:
        for turns in range(6):
            async with made.engine.open(request()) as speech:
                speech.feed(TEXT)
                for _ in range(turns):  # of the event loop: the relay has perhaps not begun
                    await asyncio.sleep(0)
            await made.idle()


async def test_what_the_engine_ends_is_raised_behind_its_events() -> None:
    async with split() as made, made.engine.open(request(idle=0.1)) as speech:
        speech.feed("Hello world, this is ")
        events = []
        with pytest.raises(InputIdle, match=r"no text for 0\.1 s"):
            async for event in speech:
                events.append(event)
        assert isinstance(events[0], Started) and any(isinstance(event, AudioChunk) for event in events)
        with pytest.raises(InputIdle):
            await anext(speech)


# ---- a caller that is slow


async def dawdle(engine: EngineClient) -> Finished:
    """A speech whose text stops in the middle; once it goes on, its caller dawdles over a chunk."""

    def go_on() -> None:
        speech.feed(TEXT)
        speech.end()
        texts.set()

    texts, dawdled = asyncio.Event(), False
    async with engine.open(request(frames=24)) as speech:
        speech.feed("Hello world, ")
        asyncio.get_running_loop().call_later(1.0, go_on)
        async for event in speech:
            if isinstance(event, AudioChunk) and texts.is_set() and not dawdled:
                dawdled = True
                await asyncio.sleep(2.5)
        assert isinstance(event, Finished)
        return event


@pytest.mark.timing
@pytest.mark.usefixtures("endless", "no_housekeeping")
async def test_lateness_is_measured_where_the_caller_takes_its_audio() -> None:
    async with split() as made:
        ends = await asyncio.gather(dawdle(made.engine), dawdle(made.rig.engine))
        for end in ends:
            assert end.lateness.underruns == {"text": 1, "engine": 0, "client": 1}
            assert end.underruns == 2 and 2.4 < end.longest_gap < 3
        for cause, seconds in ends[0].lateness.seconds.items():
            assert seconds == pytest.approx(ends[1].lateness.seconds[cause], abs=0.3)


@pytest.mark.usefixtures("endless")
async def test_a_caller_who_takes_nothing_is_bounded_and_ended() -> None:
    async with split(slow_consumer_timeout=0.5, max_unread_seconds=8.0) as made:
        async with made.engine.open(request()) as speech:
            speech.feed(TEXT)
            speech.end()
            other = asyncio.create_task(speak(made.engine, request(frames=30), TEXT))
            await until(lambda: speech.over)
            assert made.rig.notes.used <= 30 + 102
            assert made.rig.engine.open_speeches <= 1
            with pytest.raises(SlowConsumer):
                await heard_on(speech)
        assert (await other).end.frames == 30


@pytest.mark.timing
@pytest.mark.usefixtures("endless")
async def test_audio_that_still_comes_is_no_sign_of_a_caller() -> None:
    async with split(slow_consumer_timeout=0.5, max_unread_seconds=1e3) as made:
        made.rig.steps.seconds = 0.02  # audio comes all the while
        began = time.monotonic()
        async with made.engine.open(request()) as speech:
            speech.feed(TEXT)
            speech.end()
            await until(lambda: speech.over, 5.0)
            assert time.monotonic() - began < 2.0


@pytest.mark.usefixtures("endless", "no_housekeeping")
async def test_a_speech_goes_on_when_its_caller_does() -> None:
    async with split(max_unread_seconds=8.0) as made, made.engine.open(request(frames=300)) as speech:
        speech.feed(TEXT)
        speech.end()
        await until(lambda: made.unread >= 88)
        assert (await listen(speech)).end.frames == 300


async def test_a_storm_leaves_nothing() -> None:
    async with split(max_speeches=8, max_queue=64) as made:

        async def one(number: int) -> None:
            async with made.engine.open(request()) as speech:
                speech.feed(TEXT)
                for _ in range(number % 7):
                    await anext(speech)
                if number % 3:
                    speech.cancel()

        for _ in range(3):
            await asyncio.gather(*(one(number) for number in range(64)))
        await made.idle()
