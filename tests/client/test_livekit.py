"""The LiveKit plugin in real sessions: the embedded voice's server, and a scripted one for its faults."""

import asyncio
import inspect
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

pytest.importorskip("livekit.agents", reason="livekit-agents is installed in an environment of its own (make test)")

from livekit.agents import APIConnectionError, APIConnectOptions, APIError, APIStatusError, APITimeoutError, telemetry
from livekit.agents.metrics import TTSMetrics
from livekit.agents.tts import FallbackAdapter
from livekit.agents.types import USERDATA_TIMED_TRANSCRIPT
from livekit.plugins import qwentts
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from qwentts_client import AsyncClient
from qwentts_client.v1 import tts_pb2 as pb

from .fake import PCM, STARTED, Context, Fake, Requests, endless, frame, refuse, refusing, serving, speak, start
from .real import RealServer
from .sessions import talking

WORDS = ("Okay, ", "let me ", "see. ", "I have ", "it.")
ONCE = APIConnectOptions(max_retry=0)
SOON = APIConnectOptions(max_retry=3, retry_interval=0.05)


@asynccontextmanager
async def joe(server: RealServer | Fake, **options: Any) -> AsyncIterator[qwentts.TTS]:
    """The TTS, which leaves no task behind."""
    tasks = asyncio.all_tasks()
    async with qwentts.TTS(server=server.address, voice="joe", **options) as tts:
        yield tts
    await asyncio.sleep(0.05)
    left = {task for task in asyncio.all_tasks() - tasks if inspect.iscoroutine(task.get_coro())}  # not gRPC's own
    assert not left, left


class Spoken:
    """What has come of a stream."""

    def __init__(self) -> None:
        self.audio, self.seconds = b"", 0.0
        self.aligned: list[Any] = []
        self.final = 0
        self.rates: set[int] = set()

    def add(self, event: Any) -> None:
        self.audio += bytes(event.frame.data)
        self.seconds += event.frame.duration
        self.rates.add(event.frame.sample_rate)
        self.aligned += event.frame.userdata.get(USERDATA_TIMED_TRANSCRIPT, [])
        self.final += event.is_final


async def spoken(tts: qwentts.TTS, *words: str, conn_options: APIConnectOptions = ONCE) -> Spoken:
    """The speech of words that come one by one."""
    result = Spoken()
    async with tts.stream(conn_options=conn_options) as stream:
        for word in words:
            stream.push_text(word)
        stream.end_input()
        async for event in stream:
            result.add(event)
    return result


async def test_a_stream(voice_server: RealServer, caplog: pytest.LogCaptureFixture) -> None:
    metrics: list[TTSMetrics] = []
    async with joe(voice_server) as tts:
        tts.prewarm()
        tts.on("metrics_collected", metrics.append)
        result = await spoken(tts, *WORDS)
    assert result.final == 1 and result.rates == {24_000} and 0.8 < result.seconds < 6
    assert [str(text) for text in result.aligned] == ["Okay, let me see. ", "I have it."]
    (first, second) = result.aligned
    assert first.start_time == 0 < first.end_time == second.start_time < second.end_time <= result.seconds + 0.001
    (measured,) = metrics
    assert measured.ttfb > 0 and measured.characters_count == len("".join(WORDS)) and not measured.cancelled
    assert measured.input_tokens > 0 and measured.output_tokens == round(result.seconds / 0.08)
    assert measured.metadata is not None and measured.metadata.model_provider == "qwentts-grpc"
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_spans_have_provider_and_model(voice_server: RealServer) -> None:
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    telemetry.set_tracer_provider(provider)
    async with joe(voice_server) as tts:
        tts.prewarm()
        while tts.model != "joe_slt":
            await asyncio.sleep(0.01)
        await spoken(tts, "Yes.")
    labels = {
        (span.name, str(attributes.get("gen_ai.provider.name")), str(attributes.get("gen_ai.request.model")))
        for span in spans.get_finished_spans()
        if (attributes := span.attributes or {})
    }
    assert labels == {(name, "qwentts-grpc", "joe_slt") for name in ("tts_request", "tts_request_run")}


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 48_000])
async def test_rates(voice_server: RealServer, rate: int, caplog: pytest.LogCaptureFixture) -> None:
    async with joe(voice_server, sample_rate=rate) as tts:
        whole = await tts.synthesize("Yes, it is.", conn_options=ONCE).collect()
    assert (whole.sample_rate, whole.num_channels) == (rate, 1) and 0.5 < whole.duration < 4
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING], "no partial sample"


async def test_a_flush_speaks_all_and_a_tool_may_run(voice_server: RealServer) -> None:
    async with joe(voice_server) as tts:
        result = Spoken()
        async with tts.stream(conn_options=ONCE) as stream:
            stream.push_text("One moment, please. ")
            stream.flush()
            async for event in stream:  # ends by itself: LiveKit gives a stream one segment
                result.add(event)
        assert result.seconds > 0.8 and result.final == 1


async def test_a_slow_model_does_not_cut_a_sentence(voice_server: RealServer) -> None:
    async with joe(voice_server) as tts:
        result = Spoken()
        async with tts.stream(conn_options=ONCE) as stream:
            stream.push_text("One moment, please.")
            while result.seconds < 0.8:  # to the end: without the last words it stops at a half of that
                result.add(await asyncio.wait_for(anext(stream), 20))
            stream.push_text(" It is open.")
            stream.end_input()
            async for event in stream:
                result.add(event)
        assert "".join(map(str, result.aligned)) == "One moment, please. It is open." and result.final == 1


@pytest.mark.parametrize("words", [("...", " 🙂"), ()])
async def test_text_without_a_word(words: tuple[str, ...]) -> None:
    errors: list[Any] = []
    async with serving() as fake, joe(fake) as tts:
        tts.on("error", errors.append)
        result = await spoken(tts, *words)
        assert not fake.turns and not errors and not any(result.audio) and bool(result.audio) is bool(words)
        assert (await tts.synthesize("...").collect()).duration < 0.05


@pytest.mark.timing
async def test_a_barge_in(voice_server: RealServer) -> None:
    sentences = "It is open. " + "Then there are many more things to say of it than anybody wants to hear. " * 3
    async with joe(voice_server) as tts, talking(tts) as session:
        speech = session.session.say(sentences)
        async with asyncio.timeout(30):
            while "Then" not in session.screen.text:
                await asyncio.sleep(0.005)
        at = time.monotonic()
        speech.interrupt(force=True)
        await asyncio.sleep(0.09)
        assert not await asyncio.to_thread(voice_server.running), "the slot is free within 100 ms"
        await speech
        await asyncio.sleep(0.5)
        assert session.loudspeaker.last < at + 0.08
        ((text, interrupted),) = session.said
        assert interrupted and text.startswith("It is open.") and len(text) < len(sentences) / 2
        await session.session.say("Yes?")
        assert session.said[1:] == [("Yes?", False)]


async def test_the_next_turn_after_a_voice_nobody_knows(voice_server: RealServer) -> None:
    async with joe(voice_server) as tts:
        tts.update_options(voice="nobody")
        with pytest.raises(APIStatusError, match="nobody") as raised:
            await spoken(tts, *WORDS, conn_options=SOON)
        assert (raised.value.status_code, raised.value.retryable, raised.value.body) == (404, False, "VOICE_NOT_FOUND")
        tts.update_options(voice="slt")
        assert (await spoken(tts, "Yes.")).seconds > 0.2


async def test_many_streams_share_few_slots(voice_server: RealServer) -> None:
    patient = APIConnectOptions(max_retry=30, retry_interval=0.5, timeout=60)
    async with joe(voice_server) as tts:
        texts = [f"This is call {number}." for number in range(6)]
        results = await asyncio.gather(*(spoken(tts, text, conn_options=patient) for text in texts))
    assert ["".join(map(str, result.aligned)) for result in results] == texts
    assert voice_server.running() == 0


async def test_a_server_that_restarts() -> None:
    async with serving() as fake, joe(fake, retry_for=1.0) as tts:
        assert (await spoken(tts, "One.")).audio == PCM
        port = int(fake.address.rpartition(":")[2])
        await fake.server.stop(None)
        with pytest.raises(APIConnectionError):
            await spoken(tts, "Two.")
        waiting = asyncio.create_task(spoken(tts, "Three.", conn_options=SOON))
        await asyncio.sleep(0.3)
        await start(fake, port)
        assert (await waiting).audio == PCM
        assert fake.texts == ["One.", "Three."]


async def test_a_full_server_is_asked_again() -> None:
    full = refusing(2, grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL", retry=0.05)
    async with serving(full) as fake, joe(fake) as tts:
        errors: list[Any] = []
        tts.on("error", errors.append)
        assert (await spoken(tts, "Hello ", "there.", conn_options=SOON)).audio == PCM * 2
    assert [error.recoverable for error in errors] == [True, True] and errors[0].error.status_code == 429


async def silent(fake: Fake, requests: Requests, context: Context) -> AsyncIterator[pb.SynthesizeResponse]:
    """Accept nothing, say nothing."""
    await asyncio.sleep(60)
    yield STARTED


async def test_a_server_that_does_not_answer() -> None:
    async with serving(silent) as fake, joe(fake) as tts:
        with pytest.raises(APITimeoutError):
            await spoken(tts, "Hello.", conn_options=APIConnectOptions(max_retry=0, timeout=0.2))
        await asyncio.sleep(0.1)
        assert fake.left == 1


async def breaking(fake: Fake, requests: Requests, context: Context) -> AsyncIterator[pb.SynthesizeResponse]:
    """Fail after the first sentence."""
    yield STARTED
    yield frame()
    end = Duration(nanos=80_000_000)
    yield pb.SynthesizeResponse(segment_done=pb.SegmentDone(text_end=len("One. "), end_pts=end))
    yield frame(1)
    await refuse(context, grpc.StatusCode.INTERNAL, "GENERATION_FAILED")


async def test_a_turn_that_breaks_is_not_spoken_twice() -> None:
    result = Spoken()
    async with serving(breaking) as fake, joe(fake) as tts:
        async with tts.stream(conn_options=SOON) as stream:
            stream.push_text("One. And two.")
            stream.end_input()
            with pytest.raises(APIError):
                async for event in stream:
                    result.add(event)
        assert len(fake.turns) == 1 and list(map(str, result.aligned)) == ["One. "]


async def test_a_fallback_takes_over() -> None:
    async with serving() as fake, joe(fake) as good, qwentts.TTS(server="127.0.0.1:1") as bad:
        both = FallbackAdapter([bad, good], max_retry_per_tts=0)
        async with both.stream() as stream:
            stream.push_text("Hello.")
            stream.end_input()
            audio = b"".join([bytes(event.frame.data) async for event in stream])
        await both.aclose()
    assert audio.startswith(PCM) and fake.texts == ["Hello."]


async def test_options_reach_the_server() -> None:
    more = pb.SynthesisConfig()
    more.sampling.temperature = 0.5
    async with serving() as fake, AsyncClient(fake.address) as client:
        async with qwentts.TTS(client=client, voice="joe", sample_rate=16_000, config=more) as tts:
            tts.update_options(language="de", instructions="Softly.", seed=5)
            await spoken(tts, "Hallo.")
        assert await client.health() == "SERVING", "a shared client stays open"
        config = fake.turns[0][0].config
    assert (config.voice, config.language, config.instructions) == ("joe", "de", "Softly.")
    assert (config.sampling.seed, config.sampling.temperature) == (5, 0.5)
    assert config.delivery.sentence_segments and config.audio_format.sample_rate_hertz == 16_000
    with pytest.raises(ValueError, match="seed"):
        qwentts.TTS(seed=-1)


async def test_a_storm_of_interruptions() -> None:
    async with serving(endless) as fake, joe(fake) as tts:
        for number in range(60):
            stream = tts.stream(conn_options=ONCE)
            for word in WORDS[: number % 5]:
                stream.push_text(word)
            if number % 3 == 0:
                stream.end_input()
            await asyncio.sleep(0.003 * (number % 7))
            await stream.aclose()
        fake.script = speak
        assert (await spoken(tts, "Enough.")).audio == PCM
        assert fake.left == len(fake.turns) - 1, "every call but the last was cancelled"


async def test_closing_the_plugin_stops_its_streams() -> None:
    async with serving(endless) as fake:
        async with joe(fake) as tts:
            stream = tts.stream(conn_options=ONCE)
            stream.push_text("Hello.")
            await asyncio.wait_for(anext(stream), 5)
        await asyncio.sleep(0.1)
        assert fake.left == 1
