"""The Pipecat service in real pipelines: the embedded voice's server, and a scripted one for its faults."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

pytest.importorskip("pipecat", reason="pipecat-ai is installed in an environment of its own (make test)")

from pipecat.frames.frames import (
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    TTSSpeakFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSUpdateSettingsFrame,
)
from pipecat.metrics.metrics import TTFAMetricsData, TTFBMetricsData, TTSUsageMetricsData
from pipecat.services.tts_service import TextAggregationMode
from pipecat.utils.errors import ErrorCategory

from pipecat_qwentts import QwenTTSService
from qwentts_client.v1 import tts_pb2 as pb

from .fake import STARTED, Context, Fake, Requests, endless, frame, refuse, refusing, serving, speak, start
from .pipelines import Call, calling, response
from .real import RealServer

Settings = QwenTTSService.Settings
TEXT = "Okay, let me see. I have it."
FRAME = 0.08


def joe(server: RealServer | Fake, **options: Any) -> QwenTTSService:
    return QwenTTSService(server=server.address, settings=Settings(voice="joe"), **options)


@pytest.mark.parametrize("mode", TextAggregationMode)
async def test_a_turn(voice_server: RealServer, mode: TextAggregationMode) -> None:
    async with calling(joe(voice_server, text_aggregation_mode=mode)) as call:
        await call.answer(TEXT)
        await call.until(lambda: call.said)
    assert call.said == [TEXT] and not call.errors
    kinds = [type(frame) for frame in call.frames]
    assert kinds.count(TTSStartedFrame) == kinds.count(TTSStoppedFrame) == 1, "one context a turn"
    played = sum(len(audio) for _, audio in call.loudspeaker.played)
    assert played >= sum(len(audio.audio) for audio in call.audio) > 24_000
    (first_byte,), (first_sound,) = call.metrics(TTFBMetricsData), call.metrics(TTFAMetricsData)
    assert 0 < first_byte.value <= first_sound.ttfa and first_byte.model == "joe_slt"
    characters = sum(used.value for used in call.metrics(TTSUsageMetricsData))
    assert 0 <= characters - len(TEXT) <= 2, "a space after each sentence"


@pytest.mark.parametrize("text", ["你好。你好！", 'No. It is $4.50, "so  to say"…\nYes.'])
async def test_the_context_has_the_text_as_it_was_written(text: str) -> None:
    async with serving(sentences) as fake, calling(QwenTTSService(server=fake.address)) as call:
        await call.send(LLMFullResponseStartFrame(), *map(LLMTextFrame, text), LLMFullResponseEndFrame())
        await call.until(lambda: call.said)
    assert call.said == [text.replace("\n", " ")] and fake.texts == [text]


async def sentences(fake: Fake, requests: Requests, context: Context) -> AsyncIterator[pb.SynthesizeResponse]:
    """A frame for each sentence, told at the end of the text."""
    async for message in speak(fake, requests, context):
        if message.HasField("summary"):
            for index, end in enumerate(re.finditer(r"[。！.…](?=\D|$)\s*", fake.texts[-1])):
                yield frame(index)
                yield pb.SynthesizeResponse(segment_done=pb.SegmentDone(text_end=end.end()))
        if not message.HasField("audio"):
            yield message


@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
async def test_rates(voice_server: RealServer, rate: int) -> None:
    async with calling(joe(voice_server), rate) as call:
        await call.send(TTSSpeakFrame("Yes, it is."))
        await call.until(lambda: call.said)
    assert {(audio.sample_rate, audio.num_channels) for audio in call.audio} == {(rate, 1)}
    assert 0.5 < sum(len(audio.audio) for audio in call.audio) / 2 / rate < 4
    assert call.said == ["Yes, it is."]


@pytest.mark.timing
async def test_a_barge_in(voice_server: RealServer) -> None:
    sentences = "It is open. " + "Then there are many more things to say of it than anybody wants to hear. " * 3
    async with calling(joe(voice_server)) as call:
        await call.send(*response(sentences.strip())[:-1])
        await call.until(lambda: call.heard == "It is open.")
        at = await call.interrupt()
        await asyncio.sleep(at + 0.09 - time.monotonic())
        assert not await asyncio.to_thread(voice_server.running), "the slot is free within 100 ms"
        await asyncio.sleep(0.5)
        assert max(moment for moment, _ in call.loudspeaker.played) < at + FRAME
        assert not [frame for moment, frame in call.after.down if moment > at + FRAME and frame in call.audio]
        assert call.said == ["It is open."], "no more than was heard"
        await call.answer("Yes?")
        await call.until(lambda: len(call.said) == 2)
    assert call.said[1] == "Yes?" and not call.errors


async def test_text_without_a_word_opens_no_context(voice_server: RealServer) -> None:
    async with calling(joe(voice_server)) as call:
        for _ in range(4):
            await call.send(LLMFullResponseStartFrame(), LLMTextFrame("..."), LLMTextFrame(" 🙂"))
            await call.send(LLMFullResponseEndFrame(), TTSSpeakFrame("!!"))
        await call.send(LLMFullResponseStartFrame(), LLMTextFrame("— "), LLMTextFrame("yes."))
        await call.send(LLMFullResponseEndFrame())
        await call.until(lambda: call.said)
    assert [type(frame) for frame in call.frames].count(TTSStartedFrame) == 1
    assert call.said == ["— yes."] and not call.errors and call.service.is_usable


async def test_an_unknown_voice_until_the_settings_change(voice_server: RealServer) -> None:
    service = QwenTTSService(server=voice_server.address, settings=Settings(voice="nobody"))
    async with calling(service) as call:
        await call.answer(TEXT)
        await call.until(lambda: call.errors)
        (error,) = call.errors
        assert error.category is ErrorCategory.INVALID_REQUEST and "nobody" in error.error and not service.is_usable
        await call.send(TTSUpdateSettingsFrame(delta=Settings(voice="joe")))
        await call.answer("Yes.")
        await call.until(lambda: call.said)
    assert call.said == ["Yes."] and len(call.errors) == 1


@pytest.mark.parametrize("gap", ["within a response", "between responses"])
async def test_a_long_tool_call(voice_server: RealServer, gap: str) -> None:
    before, after = response("One moment, please."), response("It is open.")
    if gap == "within a response":
        before, after = before[:-1], [LLMTextFrame(" "), *after[1:]]
    async with calling(joe(voice_server)) as call:
        await call.send(*before)
        await call.until(lambda: seconds(call) > 0.8)  # to the end: without the last words it stops at a half of that
        await asyncio.sleep(3.5 if gap == "within a response" else 0.5)  # more than Pipecat's limit for a quiet context
        quiet = seconds(call)
        await call.send(*after)
        await call.until(lambda: "open." in " ".join(call.said))
    assert " ".join(call.said) == "One moment, please. It is open." and seconds(call) > quiet and not call.errors


def seconds(call: Call) -> float:
    return sum(len(audio.audio) for audio in call.audio) / 48_000


async def test_many_sessions_share_few_slots(voice_server: RealServer) -> None:
    async def session(text: str) -> list[str]:
        async with calling(joe(voice_server, retry_for=60)) as call:
            await call.send(TTSSpeakFrame(text))
            await call.until(lambda: call.said or call.errors, 60)
        assert not call.errors
        return call.said

    texts = [f"This is call {number}." for number in range(6)]
    said = await asyncio.gather(*(_alone(session(text)) for text in texts))
    assert said == [[text] for text in texts]
    assert voice_server.running() == 0


async def _alone(work: object) -> object:
    """Run in a thread of its own: each call watches all tasks of its loop."""
    return await asyncio.to_thread(asyncio.run, work)  # type: ignore[arg-type]


async def test_a_server_that_is_down_for_long() -> None:
    async with serving() as fake, calling(QwenTTSService(server=fake.address, retry_for=0)) as call:
        await call.answer("One.")
        await call.until(lambda: call.audio)
        await fake.server.stop(None)
        for _ in range(4):
            await call.answer("Two.")
            await call.until(partial(more_than, len(down(call)), call))
        assert call.service.is_usable, "four silent turns are no reason to give up"
        await start(fake, int(fake.address.rpartition(":")[2]))
        while len(call.audio) < 2:
            await call.answer("Three.")
            await asyncio.sleep(0.5)
    assert set(fake.texts) == {"One.", "Three."}


async def test_a_turn_waits_for_a_server_that_restarts() -> None:
    async with serving() as fake, calling(QwenTTSService(server=fake.address, retry_for=20)) as call:
        await call.answer("One.")
        await call.until(lambda: call.audio)
        await fake.server.stop(None)
        await call.answer("Two.")
        await asyncio.sleep(0.3)
        await start(fake, int(fake.address.rpartition(":")[2]))
        await call.until(lambda: len(call.audio) == 2)
    assert fake.texts == ["One.", "Two."] and not call.errors


def more_than(failed: int, call: Call) -> bool:
    return len(down(call)) > failed


def down(call: Call) -> list[object]:
    return [error for error in call.errors if error.category is ErrorCategory.CONNECTIVITY]


async def test_a_full_server_is_asked_again() -> None:
    full = refusing(2, grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL", retry=0.2)
    async with serving(full) as fake, calling(QwenTTSService(server=fake.address)) as call:
        await call.answer("Hello there.")
        await call.until(lambda: call.audio)
    assert fake.texts[-1] == "Hello there." and len(fake.turns) == 3 and not call.errors


async def test_a_server_that_stays_full() -> None:
    full = refusing(99, grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL", retry=0.2)
    async with serving(full) as fake, calling(QwenTTSService(server=fake.address, retry_for=0.5)) as call:
        await call.answer("Hello there.")
        await call.until(lambda: call.errors)
    assert call.errors[0].category is ErrorCategory.RATE_LIMIT and call.service.is_usable


async def test_a_barge_in_ends_the_wait_for_a_full_server() -> None:
    full = refusing(99, grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL", retry=0.2)
    async with serving(full) as fake, calling(QwenTTSService(server=fake.address)) as call:
        await call.answer("Hello there.")
        await call.until(lambda: fake.turns)
        await call.interrupt()
        asked = len(fake.turns)
        await asyncio.sleep(0.5)
        assert len(fake.turns) == asked and not call.errors


async def breaking(fake: Fake, requests: Requests, context: Context) -> AsyncIterator[pb.SynthesizeResponse]:
    """Fail after the first sentence."""
    yield STARTED
    yield frame()
    end = Duration(nanos=80_000_000)
    yield pb.SynthesizeResponse(segment_done=pb.SegmentDone(text_end=len("One. "), end_pts=end))
    yield frame(1)
    await refuse(context, grpc.StatusCode.INTERNAL, "GENERATION_FAILED")


async def test_a_turn_that_breaks_leaves_only_what_was_said() -> None:
    async with serving(breaking) as fake, calling(QwenTTSService(server=fake.address)) as call:
        await call.answer("One. And two. And three.")
        await call.until(lambda: call.errors and call.said)
        assert [error.category for error in call.errors] == [ErrorCategory.SERVER]
        fake.script = speak
        await call.answer("Four.")
        await call.until(lambda: len(call.said) == 2)
    assert call.said == ["One.", "Four."]


async def test_options_that_no_request_can_hold() -> None:
    service = QwenTTSService(settings=Settings(seed=-1))
    async with calling(service) as call:
        await call.answer(TEXT)
        await call.until(lambda: call.errors)
        await asyncio.sleep(0.1)
    assert [error.category for error in call.errors] == [ErrorCategory.INVALID_REQUEST]


async def test_settings_reach_the_server() -> None:
    async with serving() as fake:
        more = pb.SynthesisConfig()
        more.sampling.temperature = 0.5
        settings = Settings(voice="joe", language="de-DE", instructions="Softly.", seed=5)
        async with calling(QwenTTSService(server=fake.address, settings=settings, config=more), 16_000) as call:
            await call.send(TTSSpeakFrame("Hallo."))
            await call.until(lambda: call.audio)
        config = fake.turns[0][0].config
    assert (config.voice, config.language, config.instructions) == ("joe", "de-DE", "Softly.")
    assert (config.sampling.seed, config.sampling.temperature) == (5, 0.5)
    assert config.delivery.sentence_segments and config.audio_format.sample_rate_hertz == 16_000
    assert config.request_id in {audio.context_id for audio in call.audio}


async def test_a_storm_of_interruptions() -> None:
    async with serving(endless) as fake:
        async with calling(QwenTTSService(server=fake.address)) as call:
            for number in range(60):
                await call.send(*response("Tell me more of it.")[: 2 + number % 5], InterruptionFrame())
                await asyncio.sleep(0.003 * (number % 7))
            await asyncio.sleep(0.1)
            await call.interrupt()
            fake.script = speak
            await asyncio.sleep(0.1)
            await call.answer("Enough.")
            await call.until(lambda: call.said)
        assert not call.errors and call.said == ["Enough."]
        assert fake.left == len(fake.turns) - 1, "every call but the last was cancelled"


async def test_the_end_of_a_pipeline_stops_its_turns() -> None:
    async with serving(endless) as fake:
        with pytest.raises(asyncio.CancelledError):
            async with calling(QwenTTSService(server=fake.address)) as call:
                await call.answer(TEXT)
                await call.until(lambda: call.audio)
                raise asyncio.CancelledError
        await asyncio.sleep(0.1)
        assert fake.left == 1
