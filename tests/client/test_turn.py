"""A turn's life: events, written text, and the ways to end it."""

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from qwentts_client import AsyncClient, TTSError
from qwentts_client.v1 import tts_pb2 as pb

from .fake import PCM, STARTED, Fake, Requests, endless, frame, serving, speak, summary


async def test_events_are_what_the_server_says() -> None:
    async def script(fake: Fake, requests: Requests, context: Any) -> AsyncIterator[pb.SynthesizeResponse]:
        yield STARTED
        yield pb.SynthesizeResponse(notice=pb.Notice(message="well"))
        yield pb.SynthesizeResponse()  # of a newer server
        yield frame()
        yield pb.SynthesizeResponse(segment_done=pb.SegmentDone(text_end=6))
        yield pb.SynthesizeResponse(flush_done=pb.FlushDone(mark="a"))
        yield pb.SynthesizeResponse(words=pb.WordTimings())
        yield summary()

    async with serving(script) as fake, AsyncClient(fake.address) as client:
        turn = client.synthesize("Hello.", voice="joe")
        assert (await turn.wait_started()).voice == "joe" == (await turn.wait_started()).voice
        kinds = [type(event) async for event in turn.events()]
    wanted = [pb.Started, pb.Notice, pb.AudioFrame, pb.SegmentDone, pb.FlushDone, pb.WordTimings, pb.Summary]
    assert kinds == wanted
    assert (turn.started.seed, turn.notices[0].message, turn.summary.seed) == (7, "well", 7)


async def test_text_is_written_to_a_turn() -> None:
    async with serving() as fake, AsyncClient(fake.address) as client:
        turn = client.open_turn(voice="joe", request_id="mine", sample_rate=8_000)
        events = turn.events()
        turn.write("Okay, ")
        turn.write("let me see.")
        turn.flush("s1")
        while not isinstance(event := await anext(events), pb.FlushDone):
            pass
        assert event.mark == "s1"
        turn.write("Here it is.")
        turn.end()
        with pytest.raises(ValueError, match="has ended"):
            turn.write("More.")
        assert isinstance([event async for event in events][-1], pb.Summary)
        turn.write("Dropped, for the turn is over.")
    assert fake.texts == ["Okay, let me see.Here it is."]
    config = fake.turns[0][0].config
    assert (config.request_id, config.audio_format.sample_rate_hertz) == ("mine", 8_000)


@pytest.mark.parametrize(("wrong", "error"), [(None, TypeError), (b"x", TypeError), ("\ud83d", ValueError)])
async def test_what_cannot_be_written_is_refused_and_loses_nothing(wrong: Any, error: type[Exception]) -> None:
    async with serving() as fake, AsyncClient(fake.address) as client:
        turn = client.open_turn(voice="joe")
        turn.write("One.")
        with pytest.raises(error):
            turn.write(wrong)
        turn.end()
        assert len([frame async for frame in turn]) == 1


async def test_a_writer_may_fail() -> None:
    async with serving(endless) as fake, AsyncClient(fake.address) as client:
        turn = client.open_turn(voice="joe")
        turn.write("One.")
        asyncio.get_running_loop().call_later(0.05, turn.fail, ConnectionError("the model is gone"))
        with pytest.raises(ConnectionError, match="the model is gone"):
            async for _ in turn:
                pass


async def test_written_text_has_a_bound() -> None:
    async def deaf(fake: Fake, requests: Requests, context: Any) -> AsyncIterator[pb.SynthesizeResponse]:
        yield STARTED
        await asyncio.sleep(9)

    async with serving(deaf) as fake, AsyncClient(fake.address) as client, client.open_turn(voice="joe") as turn:
        with pytest.raises(BufferError):
            for _ in range(300):
                turn.write("x" * 10_000)


async def test_stop_asks_the_server_while_the_text_is_open() -> None:
    async with serving() as fake, AsyncClient(fake.address) as client:
        turn = client.open_turn(voice="joe")
        turn.write("Hello.")
        await anext(aiter(turn))
        summary = await turn.stop("the user speaks")
    assert summary.finish_reason == pb.FINISH_REASON_CANCELLED and summary.audio_samples == 1_920
    assert fake.turns[0][-1].cancel.reason == "the user speaks"
    assert summary == turn.summary and not turn.cancelled


async def test_stop_sums_up_by_itself_once_the_text_has_ended() -> None:
    async with serving(endless) as fake, AsyncClient(fake.address) as client:
        turn = client.synthesize("Hello.", voice="joe")
        frames = aiter(turn)
        for _ in range(3):
            await anext(frames)
        summary = await turn.stop()
        assert await anext(frames, None) is None
    assert (summary.finish_reason, summary.seed) == (pb.FINISH_REASON_CANCELLED, 7)
    assert (summary.audio_samples, summary.audio_frames, summary.audio_duration.ToMilliseconds()) == (5_760, 3, 240)


async def test_stop_while_another_task_listens() -> None:
    async with serving() as fake, AsyncClient(fake.address) as client:
        turn = client.open_turn(voice="joe")
        turn.write("Hello.")

        came = asyncio.Event()

        async def listen() -> None:
            async for _ in turn:
                came.set()

        listener = asyncio.create_task(listen())
        await came.wait()
        assert (await turn.stop()).finish_reason == pb.FINISH_REASON_CANCELLED
        await asyncio.wait_for(listener, 20)
        assert (await turn.stop()).finish_reason == pb.FINISH_REASON_CANCELLED


async def test_a_server_that_does_not_answer_a_cancel_is_left() -> None:
    async with serving(endless) as fake, AsyncClient(fake.address) as client:
        turn = client.open_turn(voice="joe")
        turn.write("Hello.")
        await anext(aiter(turn))
        async with asyncio.timeout(20):
            assert (await turn.stop(limit=0.2)).finish_reason == pb.FINISH_REASON_CANCELLED


@pytest.mark.parametrize("way", ["cancel", "break", "forget", "aclose"])
async def test_every_way_out_frees_the_call(way: str) -> None:
    async with serving(endless) as fake, AsyncClient(fake.address) as client:
        turn = client.synthesize("Hello.", voice="joe")
        frames = aiter(turn)
        await anext(frames)
        if way == "cancel":
            turn.cancel()
            assert await anext(frames, None) is None and turn.cancelled
        elif way == "aclose":
            await turn.aclose()
        del frames
        if way == "forget":
            del turn
            gc.collect()
        async with asyncio.timeout(20):
            while not fake.left:
                await asyncio.sleep(0.01)


async def test_a_turn_that_nobody_reads_is_freed_with_its_source() -> None:
    closed = asyncio.Event()

    async def source() -> AsyncIterator[str]:
        try:
            while True:
                yield "x" * 1_000
        finally:
            closed.set()

    async with serving(endless) as fake, AsyncClient(fake.address) as client:
        turn = client.synthesize(source(), voice="joe")
        while not fake.turns:
            await asyncio.sleep(0.01)
        del turn
        gc.collect()
        await asyncio.wait_for(closed.wait(), 20)


async def test_a_task_that_is_cancelled_is_cancelled() -> None:
    async with serving(endless) as fake, AsyncClient(fake.address) as client:
        came = asyncio.Event()

        async def listen() -> None:
            async for _ in client.synthesize("Hello.", voice="joe"):
                came.set()

        task = asyncio.create_task(listen())
        await came.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(20):
            while not fake.left:
                await asyncio.sleep(0.01)


async def test_a_deadline_ends_a_turn() -> None:
    async with serving(endless) as fake, AsyncClient(fake.address) as client:
        with pytest.raises(TTSError) as raised:
            async for frame in client.synthesize("Hello.", voice="joe", timeout=0.2):
                assert frame.data == PCM
        assert raised.value.code().name == "DEADLINE_EXCEEDED"


async def test_many_turns_share_a_client() -> None:
    async with serving(speak) as fake, AsyncClient(fake.address) as client:

        async def one(number: int) -> None:
            turn = client.synthesize([f"{number} "] * 5, voice="joe")
            assert len([frame async for frame in turn]) == 5

        await asyncio.gather(*map(one, range(50)))
    assert sorted(fake.texts) == sorted(f"{number} " * 5 for number in range(50))
