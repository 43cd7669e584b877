"""Speeches on tiny real models: nothing that happens around a speech changes a code or a sample of it."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from engine.api.config import EngineConfig
from engine.api.errors import GenerationFailed, RequestTooLarge
from engine.api.events import AudioChunk, Finished, FinishReason, Started
from engine.api.request import Delivery, Reference, Sampling, SamplingParams, SpeechRequest, TextMode
from engine.api.voice import Voice
from engine.build import build_engine
from engine.checkpoint.codec_config import CodecDecoderConfig
from engine.checkpoint.tensors import under
from engine.checkpoint.weights import load_checkpoint
from engine.model.codec.decoder import CodecDecoder
from tests.engine.conftest import Checkpoint, Engines
from tests.engine.drive import Preemptions
from tests.engine.speaking import Heard, idle, listen, same, scheduler, speak, until

pytestmark = pytest.mark.asyncio(loop_scope="session")

CUSTOM, BASE, DESIGN = "1.7B-CustomVoice", "0.6B-Base", "1.7B-VoiceDesign"
TEXT = "Hello world, how is the light of this morning? 你好。 The river\nand the old man."
GREEDY = SamplingParams(temperature=0.0)
WHOLE, INCREMENTAL = TextMode.WHOLE, TextMode.INCREMENTAL
modes = pytest.mark.parametrize("mode", [INCREMENTAL, WHOLE])


def request(
    mode: TextMode = INCREMENTAL, *, seed: int | None = 1, frames: int | None = 16, greedy: bool = False, **fields: Any
) -> SpeechRequest:
    pick = GREEDY if greedy else SamplingParams(top_p=0.9)
    sampling = Sampling(talker=pick, predictor=pick, seed=seed, max_frames=frames)
    made = SpeechRequest(sampling=sampling, delivery=Delivery(text_mode=mode, max_lead=1e4))
    return replace(made, **fields)


def recording(seconds: float, seed: int) -> np.ndarray:
    time = np.arange(round(seconds * 24_000)) / 24_000
    return (0.3 * np.sin(2 * np.pi * (150 + 50 * seed + 60 * time) * time)).astype(np.float32)


def custom_voice(number: int, mode: TextMode) -> SpeechRequest:
    speaker = ("ryan", "eric", "vivian", "dylan")[number % 4]
    instructions = "Very happy." if number % 3 == 0 else ""
    language = ("", "english", "chinese")[number % 3]
    return request(mode, voice=speaker, instructions=instructions, language=language)


def design(number: int, mode: TextMode) -> SpeechRequest:
    return request(mode, instructions="A calm voice." if number % 2 else "Old, slow, deep.")


def clone(number: int, mode: TextMode) -> SpeechRequest:
    reference = Reference(
        recording(0.4 + 0.2 * number, number), "the first word", speaker_embedding_only=number % 2 == 1
    )
    return request(mode, reference=reference)


KINDS = {CUSTOM: (custom_voice, 16), DESIGN: (design, 4), BASE: (clone, 5)}


@pytest.mark.parametrize("kind", KINDS)
async def test_batching_is_invisible(engines: Engines, kind: str) -> None:
    """Different lengths, seeds, modes, sampling and start times, alone and all at once.

    A product rounds by its number of rows, so on some processors a number falls on the border between two tokens:
    one speech of many may become another take.
    """
    engine, (make, count) = await engines(kind), KINDS[kind]
    speeches = []
    for number in range(count):
        made = make(number, (INCREMENTAL, WHOLE)[number // 2 % 2])
        pick = (
            GREEDY if number % 5 == 4 else SamplingParams(temperature=0.7 + 0.1 * (number % 4), top_k=20 * (number % 3))
        )
        sampling = Sampling(talker=pick, predictor=pick, seed=number, max_frames=4 + number, repetition_penalty=1.1)
        delivery = replace(made.delivery, first_chunk_frames=1 + number % 3)
        speeches.append((replace(made, sampling=sampling, delivery=delivery), TEXT[number:]))
    alone = [await speak(engine, *speech) for speech in speeches]

    async def later(number: int) -> Heard:
        await asyncio.sleep(0.02 * (number * 7 % count))
        return await speak(engine, *speeches[number])

    together = await asyncio.gather(*map(later, range(count)))
    takes = 0
    for one, other in zip(alone, together, strict=True):
        if np.array_equal(one.codes, other.codes):
            same(one, other)
        else:
            takes += 1
    assert takes <= (count >= 16)
    assert len({heard.codes.tobytes() for heard in alone}) == count


async def test_preemption_is_invisible(engines: Engines, checkpoint: Checkpoint) -> None:
    roomy, observer = await engines(CUSTOM), Preemptions()
    tight = EngineConfig(max_speeches=4, kv_blocks=14, block_size=8, max_prefill_tokens=7)
    speeches = [(request((INCREMENTAL, WHOLE)[n % 2], seed=n, frames=24), TEXT[:40]) for n in range(4)]
    alone = [await speak(roomy, *speech) for speech in speeches]
    async with await build_engine(str(checkpoint(CUSTOM)), tight, observer) as engine:
        together = await asyncio.gather(*(speak(engine, *speech) for speech in speeches))
        await idle(engine)
    assert "kv" in observer.reasons
    for one, other in zip(alone, together, strict=True):
        same(one, other)


async def test_a_clone_that_is_preempted_is_primed_again(engines: Engines, checkpoint: Checkpoint) -> None:
    roomy, observer = await engines(BASE), Preemptions()
    speeches = [
        (replace(clone(2 * n, INCREMENTAL), sampling=Sampling(seed=n, max_frames=20)), TEXT[:30]) for n in range(3)
    ]
    alone = [await speak(roomy, *speech) for speech in speeches]
    tight = EngineConfig(max_speeches=4, kv_blocks=14, block_size=8)
    async with await build_engine(str(checkpoint(BASE)), tight, observer) as engine:
        together = await asyncio.gather(*(speak(engine, *speech) for speech in speeches))
    assert "kv" in observer.reasons
    for one, other in zip(alone, together, strict=True):
        same(one, other)


def words(text: str) -> Iterable[str]:
    return (word + " " * (i < text.count(" ")) for i, word in enumerate(text.split(" ")))


@modes
@pytest.mark.parametrize("greedy", [False, True])
async def test_the_sizes_of_text_pieces_are_invisible(engines: Engines, mode: TextMode, greedy: bool) -> None:
    engine = await engines(CUSTOM)
    made = request(mode, greedy=greedy, frames=12)
    whole = await speak(engine, made, TEXT)
    assert "".join(words(TEXT)) == TEXT
    for pieces, pause in ((words(TEXT), 0.01), (TEXT, 0.002)):
        same(whole, await speak(engine, made, pieces, pause))


async def test_the_end_may_be_drawn_before_the_text_has_ended(engines: Engines) -> None:
    """Greedy as the reference does it: whatever comes of the text after that is passed over, live or not."""
    engine = await engines(CUSTOM)
    long = TEXT * 3
    for voice in engine.card.voices:
        made = request(greedy=True, frames=None, voice=voice)
        whole = await speak(engine, made, long)
        if whole.end.reason is FinishReason.STOP and whole.end.frames < whole.end.text_tokens:
            same(whole, await speak(engine, made, words(long), 0.01))
            return
    pytest.fail("no voice ends early: the checkpoint is of no use for this")


@modes
async def test_streaming_is_the_decoding_of_all_codes_at_once(
    engines: Engines, checkpoint: Checkpoint, mode: TextMode
) -> None:
    engine = await engines(CUSTOM)
    delivery = Delivery(text_mode=mode, max_lead=1e4, first_chunk_frames=2)  # a slow machine makes the others of 1
    heard = await speak(engine, request(mode, frames=51, delivery=delivery), TEXT)
    assert len({len(chunk.codes) for chunk in heard.of(AudioChunk)}) > 1
    loaded = load_checkpoint(checkpoint(CUSTOM), torch.device("cpu"), torch.float32)
    decoder = CodecDecoder(
        CodecDecoderConfig.from_json(loaded.codec_json["decoder_config"]), under(loaded.codec, "decoder")
    )
    with torch.inference_mode():
        state = decoder.new_state(1, "cpu", torch.float32)
        audio = decoder.forward(torch.from_numpy(heard.codes).long()[None], state, torch.zeros(1, dtype=torch.int64))
    assert (audio[0] * 32767 - torch.from_numpy(heard.pcm).float()).abs().max() <= 1.0


async def test_first_audio_comes_before_the_last_text(engines: Engines) -> None:
    engine = await engines(CUSTOM)
    async with engine.open(request(frames=30)) as speech:
        speech.feed("Hello world, ")
        async with asyncio.timeout(10):
            first = await anext(event async for event in speech if isinstance(event, AudioChunk))
        assert len(first.codes) == 1
        speech.feed("and so on.")
        speech.end()
        async with asyncio.timeout(10):
            rest = [event async for event in speech]
    assert isinstance(rest[-1], Finished)
    assert rest[-1].frames > 1


async def test_the_books_of_a_speech(engines: Engines) -> None:
    engine = await engines(CUSTOM)
    heard = await speak(engine, request(frames=10, request_id="a"), "Hello world")
    end = heard.end
    assert (end.reason, end.frames, end.text_characters, end.seed) == (FinishReason.LENGTH, 10, 11, 1)
    assert 0 < end.text_tokens <= 11
    assert 0 <= end.queue_wait < end.time_to_first_audio < end.total_time
    assert [start.seed for start in heard.of(Started)] == [1]


async def test_seeds(engines: Engines) -> None:
    engine = await engines(CUSTOM)
    drawn = [await speak(engine, request(seed=None, frames=5), "Hello") for _ in range(2)]
    assert drawn[0].end.seed != drawn[1].end.seed
    assert not np.array_equal(drawn[0].codes, drawn[1].codes)
    for heard in drawn:
        same(heard, await speak(engine, request(seed=heard.end.seed, frames=5), "Hello"))


@modes
async def test_segments_go_on_in_the_same_turn(engines: Engines, mode: TextMode) -> None:
    engine = await engines(CUSTOM, eos_scale=4.0)
    async with engine.open(request(mode, frames=None)) as speech:
        speech.flush("nothing yet")
        speech.feed("Hello world. ")
        speech.flush("one")
        speech.flush("nothing more")
        speech.feed("And the river.")
        speech.flush("two")
        speech.end()
        heard = await listen(speech)
    marks = dict(heard.marks)
    assert list(marks) == ["nothing yet", "one", "nothing more", "two"]
    assert marks["nothing yet"] == 0 < marks["one"] == marks["nothing more"] < marks["two"] == heard.end.frames
    for chunk in heard.of(AudioChunk)[:-1]:
        assert (chunk.segment == 1) == (chunk.first_frame < marks["one"])


async def test_a_model_that_never_ends_is_cut_at_the_cap(engines: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.scheduler.segment.CAP_SECONDS", 1.6)
    engine = await engines(CUSTOM, eos_scale=0.0)
    heard = await speak(engine, request(frames=None), "Hi")
    assert heard.end.reason is FinishReason.LENGTH
    assert heard.end.frames == 20 + 25 * heard.end.text_tokens


async def test_a_row_that_is_not_finite_fails_alone_and_leaves_nothing_behind(engines: Engines) -> None:
    engine = await engines(BASE)
    sound = replace(request(frames=20), kept=Voice(embedding=np.full(48, 0.1, np.float32)))
    broken = replace(request(), kept=Voice(embedding=np.full(48, np.nan, np.float32)))
    alone = await speak(engine, sound, TEXT)
    together = asyncio.create_task(speak(engine, sound, TEXT))
    for _ in range(3):
        with pytest.raises(GenerationFailed):
            await speak(engine, broken, TEXT)
    same(alone, await together)
    for again in await asyncio.gather(*(speak(engine, sound, TEXT) for _ in range(3))):
        same(alone, again)


async def test_a_prompt_that_the_pool_can_never_hold(engines: Engines) -> None:
    engine = await engines(CUSTOM, kv_blocks=4)
    with pytest.raises(RequestTooLarge):
        await speak(engine, request(WHOLE), TEXT * 3)
    heard = await speak(engine, request(INCREMENTAL, frames=None), TEXT * 3)
    assert heard.end.reason is FinishReason.LENGTH


@pytest.mark.parametrize("kind", [CUSTOM, BASE])
async def test_cancel_at_every_point(engines: Engines, kind: str) -> None:
    """Slot and blocks are free at once, whether it is queued, prepared, in its prompt, or anywhere in its audio."""
    engine = await engines(kind, max_speeches=2, max_prefill_tokens=4)
    survivor = asyncio.create_task(speak(engine, KINDS[kind][0](2, INCREMENTAL), TEXT))
    for point in range(14):
        speech = engine.open(KINDS[kind][0](point % 4, (INCREMENTAL, WHOLE)[point % 2]))
        speech.feed(TEXT)
        speech.end()
        for _ in range(point * point):
            await asyncio.sleep(0)
        await asyncio.sleep(0.01 * point)
        speech.cancel()
        assert speech.sequence.slot is None
        assert speech.sequence.blocks == []
        scheduler(engine).check()
        speech.cancel()
        heard = await listen(speech)
        assert heard.end.reason in (FinishReason.CANCELLED, FinishReason.LENGTH, FinishReason.STOP)
    alone = await speak(engine, KINDS[kind][0](2, INCREMENTAL), TEXT)
    same(alone, await survivor)


async def test_a_parked_speech_gives_its_slot_away_and_resumes(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.scheduler.admission.EVICT_AFTER", 0.02)
    engine = await engines(CUSTOM, max_speeches=1)
    made = request(frames=30)
    whole = await speak(engine, made, TEXT)
    half = len(TEXT) // 2
    async with engine.open(made) as speech:
        speech.feed(TEXT[:half])
        await until(lambda: engine.state().parked == 1)
        other = await speak(engine, request(seed=9), "In between.")
        assert other.codes.size
        assert speech.sequence.slot is None
        speech.feed(TEXT[half:])
        speech.end()
        same(whole, await listen(speech))
