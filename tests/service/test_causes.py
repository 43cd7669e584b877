"""First audio, underruns and work count against the server only where the server is slow."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration

from engine.api.events import Finished
from engine.api.request import Delivery, Reference, Sampling, SpeechRequest
from engine.checkpoint.dummy import write_checkpoint
from engine.prompt.builder import PromptLayout
from qwentts_client.v1 import tts_pb2 as pb
from tests.faults.devices import Steady

from .conftest import Running, config, flush, send, serving, text

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timing]

FAST, SLOW = 0.01, 0.2  # seconds a step; a frame is heard for 0.08
WORDS = "so we go to it as he is on it".split()
SENTENCE = "Go on. "


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def alone(checkpoint: Path) -> AsyncIterator[Running]:
    """A server with one slot."""
    async with serving(checkpoint, max_speeches=1, guard_seconds=0.0) as running:
        yield running


@contextmanager
def device(running: Running, seconds: float, frames: int = 12) -> Iterator[Steady]:
    """Steps of `seconds`, segments of `frames` frames."""
    made = Steady(running.eos, seconds, frames)
    with running.runner(lambda real: made):
        yield made


def opening(max_lead: float = 5.0) -> pb.SynthesizeRequest:
    made = config(60.0)
    made.config.delivery.max_lead.FromNanoseconds(round(max_lead * 1e9))
    return made


def words(pause: float) -> list[pb.SynthesizeRequest | float]:
    return [part for word in WORDS for part in (text(f"{word} "), pause)]


async def summary(running: Running, *requests: pb.SynthesizeRequest | float) -> pb.Summary:
    responses = [response async for response in running.stub.Synthesize(send(requests), timeout=60)]
    await running.idle()
    last: pb.Summary = responses[-1].summary
    return last


def counts(summary: pb.Summary) -> tuple[int, int, int]:
    """Underruns of text, engine and client."""
    found = summary.text_underruns.count, summary.engine_underruns.count, summary.client_underruns.count
    assert sum(found) == summary.underruns
    return found


def seconds(duration: Duration) -> float:
    return float(duration.ToNanoseconds() / 1e9)


async def test_a_stream_that_is_opened_early_waits_for_its_own_text(alone: Running) -> None:
    with device(alone, FAST):
        told = await summary(alone, opening(), 0.5, text(SENTENCE))
    assert seconds(told.time_to_first_audio) > 0.5
    assert 0 < seconds(told.server_time_to_first_audio) < 0.2
    assert counts(told) == (0, 0, 0)
    assert seconds(told.work_time) < 0.5


async def test_words_that_come_more_slowly_than_they_are_spoken_are_late_themselves(alone: Running) -> None:
    with device(alone, FAST):
        told = await summary(alone, opening(), *words(0.25), flush(""))
    missing, engine, client = counts(told)
    assert missing >= 5 and (engine, client) == (0, 0)
    assert seconds(told.text_underruns.duration) > 0.5
    assert seconds(told.engine_underruns.duration) == 0


async def test_a_tool_call_between_sentences_is_not_the_servers(alone: Running) -> None:
    with device(alone, FAST):
        told = await summary(alone, opening(), text(SENTENCE), flush("one"), 2.0, text(SENTENCE))
    assert counts(told) == (1, 0, 0)
    assert 0.7 < seconds(told.text_underruns.duration) < 1.3  # 12 frames are heard for 0.96 s


@pytest.mark.parametrize("max_lead", [0.08, 0.5, 100.0])
async def test_waiting_for_playback_is_no_work(alone: Running, max_lead: float) -> None:
    with device(alone, FAST, frames=25):
        told = await summary(alone, opening(max_lead), text(SENTENCE))
    assert seconds(told.total_time) > 1.3 if max_lead < 1 else seconds(told.total_time) < 1.3
    assert seconds(told.work_time) / seconds(told.audio_duration) < 0.5
    assert counts(told) == (0, 0, 0)


async def test_a_slow_device_is_the_servers_whatever_the_caller_does(alone: Running) -> None:
    for requests in ([text(SENTENCE)], words(0.15)):
        with device(alone, SLOW, frames=6):
            told = await summary(alone, opening(), *requests)
        _, engine, client = counts(told)
        assert engine >= 4 and client == 0
        assert seconds(told.engine_underruns.duration) > 4 * (SLOW - 0.08) - 0.1
        assert seconds(told.server_time_to_first_audio) > SLOW
        assert seconds(told.work_time) / seconds(told.audio_duration) > 1.5


async def test_what_is_late_for_two_reasons_is_split(alone: Running) -> None:
    with device(alone, FAST, frames=4) as steady:
        asyncio.get_running_loop().call_later(1.0, setattr, steady, "seconds", 0.6)
        told = await summary(alone, opening(), text(SENTENCE), flush(""), 1.6, text(SENTENCE))
    assert 1.0 < seconds(told.text_underruns.duration) < 1.8
    assert seconds(told.engine_underruns.duration) > 0.3


async def test_a_wait_for_a_slot_is_the_servers(alone: Running) -> None:
    with device(alone, FAST, frames=10):
        first = asyncio.create_task(summary(alone, opening(0.08), text(SENTENCE)))
        await asyncio.sleep(0.1)
        told = await summary(alone, opening(), text(SENTENCE))
        await first
    assert seconds(told.queue_wait) > 0.3
    assert seconds(told.server_time_to_first_audio) > 0.3
    assert seconds(told.work_time) < 0.3


def request(max_lead: float = 5.0) -> SpeechRequest:
    delivery = Delivery(max_lead=max_lead)
    return SpeechRequest(voice="ryan", sampling=Sampling(seed=1, max_frames=40), delivery=delivery)


@pytest.mark.parametrize("max_lead", [0.5, 5.0])
async def test_a_reader_who_stops_and_goes_on_is_late_himself(alone: Running, max_lead: float) -> None:
    finished = None
    with device(alone, FAST, frames=1_000):
        async with alone.engine.open(request(max_lead)) as speech:
            speech.feed(SENTENCE)
            speech.end()
            paused = False
            async for event in speech:
                if speech.sequence.taken > 5 and not paused:
                    paused = True
                    await asyncio.sleep(1.5)
                if isinstance(event, Finished):
                    finished = event
    assert finished is not None
    assert finished.lateness.underruns == {"text": 0, "engine": 0, "client": 1}
    assert 0.5 < finished.lateness.seconds["client"] < 1.6
    assert finished.underruns == 1


@pytest.mark.parametrize("pieces", [[SENTENCE], WORDS])
async def test_encoding_a_reference_is_the_servers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pieces: list[str]
) -> None:
    folder = write_checkpoint(tmp_path / "tiny-base", "0.6B-Base", seed=3)
    async with serving(folder) as running:
        engine = running.engine
        assert engine is not None
        prepare = engine._prompt_builder.prepare

        def slow(request: SpeechRequest) -> PromptLayout:
            time.sleep(0.5)
            return prepare(request)

        monkeypatch.setattr(engine._prompt_builder, "prepare", slow)
        reference = Reference(np.zeros(24_000, np.float32), speaker_embedding_only=True)
        asked = SpeechRequest(reference=reference, sampling=Sampling(seed=1, max_frames=10))
        async with engine.open(asked) as speech:
            await asyncio.sleep(0.1)
            for piece in pieces:
                speech.feed(f"{piece} ")
                await asyncio.sleep(0.02)
            speech.end()
            *_, finished = [event async for event in speech]
    assert isinstance(finished, Finished)
    assert 0.35 < finished.server_first_audio < finished.time_to_first_audio - 0.05


async def test_text_that_waits_while_the_turn_is_prepared_has_come_before(
    alone: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qwentts_grpc.service.tts import TTSService

    prepare = TTSService._prepare

    async def slow(*arguments: object) -> object:
        await asyncio.sleep(0.4)
        return await prepare(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(TTSService, "_prepare", slow)
    with device(alone, FAST):
        at_once = await summary(alone, opening(), text(SENTENCE))
        later = await summary(alone, opening(), 1.0, text(SENTENCE))
    assert seconds(at_once.server_time_to_first_audio) > 0.4
    assert seconds(later.server_time_to_first_audio) < 0.2


async def test_the_metrics_say_the_same(alone: Running) -> None:
    labels = {"method": "Synthesize", "model": "tiny-custom"}

    def figures() -> dict[str, float]:
        return {
            "own": alone.sample("tts_server_time_to_first_audio_seconds_sum", **labels),
            "all": alone.sample("tts_time_to_first_audio_seconds_sum", **labels),
            "text": alone.sample("tts_underruns_total", cause="text"),
            "engine": alone.sample("tts_underruns_total", cause="engine"),
            "dry": alone.sample("tts_underrun_seconds_total", cause="text"),
            "chunks": alone.sample("tts_audio_chunk_lateness_seconds_count", cause="engine"),
            "in time": alone.sample("tts_audio_chunk_lateness_seconds_bucket", cause="engine", le="0.0"),
        }

    before = figures()
    with device(alone, FAST):
        told = await summary(alone, opening(), 0.4, *words(0.2), flush(""))
    change = {name: value - before[name] for name, value in figures().items()}
    assert change["own"] < 0.2 and change["all"] > 0.4
    assert (change["text"], change["engine"]) == counts(told)[:2]
    assert change["dry"] == pytest.approx(seconds(told.text_underruns.duration), abs=1e-6)
    assert change["chunks"] == change["in time"] > 10
