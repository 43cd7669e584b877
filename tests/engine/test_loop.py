"""The engine's loop and the caller's handle over a fake device: what is refused, what is timed out, what fails whom."""

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from engine.api.config import EngineConfig, ModelCard
from engine.api.errors import (
    Busy,
    EngineError,
    EngineFailed,
    GenerationFailed,
    InputIdle,
    InvalidRequest,
    SlowConsumer,
    TextTooLong,
    Unsupported,
    VoiceNotFound,
)
from engine.api.events import AudioChunk, Finished, FinishReason, FlushDone, Notice, NoticeCode, SegmentDone, Started
from engine.api.metrics import CODEC_FRAMES, LATENESS, QUEUE_WAIT, SLOT_RELEASE, TEXT_STARVED
from engine.api.observer import Metric, NullObserver
from engine.api.request import Delivery, Reference, Sampling, SamplingParams, SpeechRequest, TextMode
from engine.api.voice import Voice
from engine.engine import Engine
from engine.prompt.builder import PromptBuilder
from engine.scheduler.batch import Batch, StepOutput
from engine.scheduler.batch_builder import Limits
from engine.scheduler.block_pool import BlockPool
from engine.scheduler.scheduler import Scheduler
from tests.engine.drive import FLAVOURS, Flavour
from tests.engine.fake_runner import FakeRunner, OneAhead
from tests.engine.speaking import Heard, idle, listen, scheduler, speak, until
from tests.engine.tiny import tiny_config, tiny_tokenizer

TEXT = "Hello world, how is the light of this morning? The river and the old man. "
SILENCE = np.zeros(24_000, np.float32)


class FakeCloner:
    """Encodes a recording to a fixed voice, as soon as `gate` is open; `error` is raised instead."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.error: Exception | None = None

    def __call__(self, reference: Reference) -> Voice:
        assert self.gate.wait(10)
        if self.error is not None:
            raise self.error
        codes = np.arange(48, dtype=np.int32).reshape(3, 16)
        return Voice(embedding=np.zeros(48, np.float32), codes=codes, transcript=reference.transcript)

    def is_primed(self, voice: Voice) -> bool:
        return True

    def prime(self, voice: Voice) -> None:
        raise AssertionError("it knows them all")


class Notes(NullObserver):
    """Values recorded, by metric and labels."""

    def __init__(self) -> None:
        self.values: defaultdict[tuple[Metric, *tuple[str, ...]], list[float]] = defaultdict(list)

    def record(self, metric: Metric, value: float = 1.0, *labels: str) -> None:
        self.values[metric, *labels].append(value)

    @property
    def used(self) -> int:
        """Codec frames that were delivered."""
        return int(sum(self.values[CODEC_FRAMES, "true"]))


class SlowSteps:
    """A runner whose steps take a while, so that tests can act between them."""

    def __init__(self, runner: FakeRunner | OneAhead) -> None:
        self.runner = runner
        self.seconds = 0.0

    def step(self, batch: Batch) -> StepOutput:
        time.sleep(self.seconds)
        return self.runner.step(batch)


@dataclass
class Rig:
    """An engine over a fake device, and the levers of both."""

    engine: Engine
    device: FakeRunner
    steps: SlowSteps
    cloner: FakeCloner
    notes: Notes


@asynccontextmanager
async def rig(flavour: Flavour, kind: str = "1.7B-CustomVoice", **settings: Any) -> AsyncIterator[Rig]:
    """Afterwards the engine holds nothing and has left no task behind."""
    before = asyncio.all_tasks()
    config = EngineConfig(**{"max_speeches": 2, "max_queue": 2, **settings})
    model, notes, cloner = tiny_config(kind), Notes(), FakeCloner()
    device = FakeRunner(model, config.max_speeches, block_size=4)
    steps = SlowSteps(device if flavour == "at once" else OneAhead(device))
    limits = Limits(config.max_speeches, config.max_prefill_tokens or 256, 4_000, 7_500)
    schedule = Scheduler(limits, BlockPool(1_000, block_size=4), notes)
    layouts = PromptBuilder(model, tiny_tokenizer(), cloner if model.kind == "base" else None)
    card = ModelCard(
        "fake", model.kind, (), tuple(model.speakers), True, "fake", model.frame_samples, model.sample_rate
    )
    engine = Engine(card, Sampling(), config, layouts, schedule, steps, notes)
    try:
        yield Rig(engine, device, steps, cloner, notes)
        if not engine._steps._running.done():
            await idle(engine)
    finally:
        await engine.close()
    assert asyncio.all_tasks() == before
    schedule.check()
    assert schedule.state(0.0).blocks_used == 0


both = pytest.mark.parametrize("flavour", FLAVOURS)


def request(max_lead: float = 1e4, idle: float = 30.0, frames: int | None = None, **fields: Any) -> SpeechRequest:
    delivery = Delivery(text_mode=TextMode.INCREMENTAL, max_lead=max_lead, input_idle_timeout=idle)
    made = SpeechRequest(sampling=Sampling(seed=1, max_frames=frames), delivery=delivery)
    return replace(made, **fields)


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """No speech ends by itself."""
    monkeypatch.setattr("tests.engine.fake_runner.MAY_END_ODDS", 1 << 62)


# ---- what comes out


@both
async def test_the_events_of_a_speech(flavour: Flavour) -> None:
    async with rig(flavour) as made:
        async with made.engine.open(request()) as speech:
            speech.feed(TEXT)
            speech.flush("one")
            speech.feed("And more.")
            speech.end()
            heard = await listen(speech)
        kinds = [type(event) for event in heard.events if not isinstance(event, AudioChunk)]
        assert kinds == [Started, SegmentDone, FlushDone, SegmentDone, Finished]
        assert heard.end.text_characters == len(TEXT) + len("And more.")
        assert made.notes.used == heard.end.frames
        assert made.notes.values[(QUEUE_WAIT,)] == [heard.end.queue_wait]
        assert len(made.notes.values[LATENESS, "engine"]) == len(
            [chunk for chunk in heard.of(AudioChunk) if len(chunk.codes)]
        )


@both
async def test_the_end_is_final(flavour: Flavour) -> None:
    async with rig(flavour) as made:
        speech = made.engine.open(request())
        speech.feed(TEXT)
        speech.end()
        await listen(speech)
        with pytest.raises(StopAsyncIteration):
            await anext(speech)
        speech.cancel()
        speech.end()
        speech.notify(Notice(NoticeCode.DRAINING, "late"))
        with pytest.raises(StopAsyncIteration):
            await anext(speech)


@both
async def test_a_notice_reaches_the_caller_once(flavour: Flavour) -> None:
    async with rig(flavour) as made, made.engine.open(request()) as speech:
        for _ in range(3):
            speech.notify(Notice(NoticeCode.DRAINING, "the server is about to stop"))
        speech.feed(TEXT)
        speech.end()
        assert (await listen(speech)).notices == ["DRAINING"]


@pytest.fixture
def no_housekeeping(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop wakes for what happens, and not because it looks at the clock now and then."""
    monkeypatch.setattr("engine.step_loop.HOUSEKEEPING", 60.0)


@both
@pytest.mark.usefixtures("no_housekeeping")
async def test_a_speech_that_waits_for_text_says_so_once_and_goes_on_at_once(flavour: Flavour) -> None:
    async with rig(flavour) as made, made.engine.open(request()) as speech:
        speech.feed("Hello world, this is ")
        await until(lambda: made.engine.state().parked == 1)
        await asyncio.sleep(0.3)
        frames = made.notes.used
        speech.feed("a river and the old man and ")
        await until(lambda: made.notes.used > frames)
        speech.feed("more.")
        speech.end()
        assert (await listen(speech)).notices == ["TEXT_STARVED"]
        assert made.notes.values[(TEXT_STARVED,)][0] > 0.25


@pytest.mark.timing
@both
@pytest.mark.usefixtures("endless")
async def test_pacing_says_so_and_keeps_to_the_lead(flavour: Flavour) -> None:
    async with rig(flavour) as made, made.engine.open(request(max_lead=0.4, frames=15)) as speech:
        speech.feed("Hello world")
        speech.end()
        started = time.monotonic()
        heard = await listen(speech)
        assert heard.notices == ["PACED"]
        assert 15 * 0.08 - 0.4 - 0.1 < time.monotonic() - started < 3.0


@both
@pytest.mark.usefixtures("no_housekeeping")
async def test_flushing_before_any_text(flavour: Flavour) -> None:
    async with rig(flavour) as made, made.engine.open(request()) as speech:
        speech.flush("nothing")
        async with asyncio.timeout(10):
            assert [type(await anext(speech)) for _ in range(2)] == [Started, FlushDone]
        speech.feed(TEXT)
        speech.end()
        assert isinstance([event async for event in speech][-1], Finished)


# ---- what is refused


@both
async def test_a_full_queue_refuses_and_recovers(flavour: Flavour) -> None:
    async with rig(flavour) as made:
        speeches = [made.engine.open(request()) for _ in range(4)]
        with pytest.raises(Busy):
            made.engine.open(request())
        await until(lambda: made.engine.state().running == 2)
        assert made.engine.state().queued == 2
        speeches[0].cancel()
        speeches.append(made.engine.open(request()))
        for speech in speeches[1:]:
            speech.feed(TEXT)
            speech.end()
            assert (await listen(speech)).codes.size


@both
async def test_who_waits_too_long_in_the_queue_is_refused(flavour: Flavour) -> None:
    async with rig(flavour, queue_timeout=0.1) as made:
        running = [made.engine.open(request()) for _ in range(2)]
        waiting = made.engine.open(request())
        with pytest.raises(Busy):
            await listen(waiting)
        for speech in running:
            speech.cancel()


async def test_a_recording_may_take_longer_to_encode_than_the_queue_allows() -> None:
    async with rig("at once", "0.6B-Base", queue_timeout=0.1) as made:
        made.cloner.gate.clear()
        speech = made.engine.open(request(reference=Reference(SILENCE, "hello")))
        speech.feed(TEXT)
        speech.end()
        await asyncio.sleep(0.5)
        made.cloner.gate.set()
        assert (await listen(speech)).codes.size


async def test_what_a_checkpoint_cannot_do_is_refused_at_once() -> None:
    reference = Reference(SILENCE, "hello")
    async with rig("at once") as made:
        for wrong, error in (
            (request(voice="nobody"), VoiceNotFound),
            (request(reference=reference), Unsupported),
            (request(language="klingon"), InvalidRequest),
            (request(sampling=Sampling(talker=SamplingParams(top_p=0.0))), InvalidRequest),
            (request(delivery=Delivery(max_chunk_frames=13)), InvalidRequest),
            (request(voice="ryan", reference=reference), InvalidRequest),
        ):
            with pytest.raises(error):
                made.engine.open(wrong)
    async with rig("at once", "1.7B-VoiceDesign") as made:
        for wrong in (request(voice="ryan"), request(reference=reference)):
            with pytest.raises(Unsupported):
                made.engine.open(wrong)
    async with rig("at once", "0.6B-Base") as made:
        with pytest.raises(InvalidRequest):
            made.engine.open(request())
        with pytest.raises(Unsupported):
            made.engine.open(request(reference=reference, instructions="Be happy."))
        with pytest.raises(InvalidRequest):
            made.engine.open(request(reference=Reference(SILENCE)))


async def test_text_at_the_wrong_time_or_too_much_of_it() -> None:
    async with rig("at once", max_text_characters=10) as made:
        speech = made.engine.open(request())
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


# ---- what is timed out


@both
async def test_a_caller_who_sends_no_text(flavour: Flavour) -> None:
    async with rig(flavour) as made:
        silent = made.engine.open(request(idle=0.1))
        with pytest.raises(InputIdle):
            await listen(silent)
        stopped = made.engine.open(request(idle=0.1))
        stopped.feed("Hello world, this is ")
        with pytest.raises(InputIdle):
            await listen(stopped)
        patient = made.engine.open(request(idle=0.0))
        await asyncio.sleep(0.6)
        patient.feed(TEXT)
        patient.end()
        assert (await listen(patient)).codes.size


@both
async def test_a_greedy_end_does_not_let_a_silent_caller_keep_the_slot(flavour: Flavour) -> None:
    early = Sampling(talker=SamplingParams(temperature=0.0), seed=1)
    async with rig(flavour) as made:
        speech = made.engine.open(request(idle=0.1, sampling=early))
        speech.feed(TEXT * 3)
        with pytest.raises(InputIdle):
            await listen(speech)


@both
@pytest.mark.usefixtures("endless")
async def test_a_caller_who_stops_reading(flavour: Flavour) -> None:
    async with rig(flavour, slow_consumer_timeout=0.5) as made:
        speech = made.engine.open(request(max_lead=0.4))
        speech.feed(TEXT)
        speech.end()
        other = asyncio.create_task(speak(made.engine, request(frames=30), TEXT))
        await until(lambda: speech.over)
        assert made.notes.used <= 30 + 0.4 / 0.08 + 2
        events = []
        with pytest.raises(SlowConsumer):
            async for event in speech:
                events.append(event)
        assert isinstance(events[0], Started)
        assert (await other).end.frames == 30


# ---- what fails


@both
async def test_a_step_that_raises_ends_everything(flavour: Flavour) -> None:
    async with rig(flavour) as made:
        speeches = [made.engine.open(request()) for _ in range(3)]
        for speech in speeches:
            speech.feed("Hello world, this is ")
        await until(lambda: made.engine.state().parked == 2)
        made.device.error = RuntimeError("a kernel fell over")
        speeches[0].feed("more of it and more of it ")
        for speech in speeches:
            with pytest.raises(EngineFailed, match="RuntimeError"):
                await listen(speech)
        assert made.engine.failed is made.device.error
        assert (made.engine.state().running, made.engine.state().blocks_used) == (0, 0)
        with pytest.raises(EngineFailed):
            made.engine.open(request())


@both
async def test_a_step_that_hangs_ends_everything(flavour: Flavour) -> None:
    async with rig(flavour, step_timeout=0.2) as made:
        made.steps.seconds = 0.6
        before = made.engine.last_step
        speech = made.engine.open(request())
        speech.feed(TEXT)
        with pytest.raises(EngineFailed):
            await listen(speech)
        assert isinstance(made.engine.failed, TimeoutError)
        assert made.engine.last_step == before


@both
async def test_a_row_that_breaks_fails_alone(flavour: Flavour) -> None:
    async with rig(flavour) as made:
        alone = await speak(made.engine, request(), TEXT)
        made.steps.seconds = 0.003
        sound = asyncio.create_task(speak(made.engine, request(), TEXT))
        broken = made.engine.open(request())
        broken.feed(TEXT)
        async for event in broken:
            if isinstance(event, AudioChunk):
                break
        assert broken.sequence.slot is not None
        made.device.breaks.add(broken.sequence.slot)
        with pytest.raises(GenerationFailed):
            async for _ in broken:
                pass
        np.testing.assert_array_equal((await sound).codes, alone.codes)


@pytest.mark.parametrize("error", [Unsupported("of no use"), ValueError("a broken recording")])
async def test_a_recording_that_cannot_be_encoded_fails_alone(error: Exception) -> None:
    async with rig("at once", "0.6B-Base") as made:
        made.cloner.error = error
        speech = made.engine.open(request(reference=Reference(SILENCE, "hello")))
        with pytest.raises(Unsupported if isinstance(error, EngineError) else GenerationFailed):
            await listen(speech)
        made.cloner.error = None
        assert (await speak(made.engine, request(reference=Reference(SILENCE, "hello")), TEXT)).codes.size


# ---- who gives up


@both
async def test_cancel_after_every_event(flavour: Flavour) -> None:
    async with rig(flavour) as made:
        made.steps.seconds = 0.001
        count = len((await speak(made.engine, request(), TEXT)).events)
        for events in range(count):
            speech = made.engine.open(request())
            speech.feed(TEXT)
            speech.end()
            for _ in range(events):
                await anext(speech)
            speech.cancel()
            assert speech.sequence.slot is None
            scheduler(made.engine).check()
            rest = [event async for event in speech]
            assert isinstance(rest[-1], Finished)
        await until(lambda: made.engine.state().blocks_used == 0)
        assert 0 < len(made.notes.values[(SLOT_RELEASE,)]) <= count + 1


@both
@pytest.mark.parametrize("leave", ["break", "raise", "task"])
async def test_leaving_the_block_cancels(flavour: Flavour, leave: str) -> None:
    async def listener(made: Rig) -> None:
        async with made.engine.open(request()) as speech:
            speech.feed("Hello world, this is ")
            async for event in speech:
                if isinstance(event, AudioChunk) and leave == "break":
                    break
                if isinstance(event, AudioChunk) and leave == "raise":
                    raise KeyError

    async with rig(flavour) as made:
        task = asyncio.create_task(listener(made))
        await until(lambda: task.done() or made.engine.state().parked == 1)
        task.cancel()
        await asyncio.wait([task])
        assert made.engine.state().running == 0


async def test_cancel_while_the_recording_is_encoded() -> None:
    async with rig("at once", "0.6B-Base") as made:
        for error in (None, ValueError("a broken recording")):
            made.cloner.gate.clear()
            made.cloner.error = error
            speech = made.engine.open(request(reference=Reference(SILENCE, "hello")))
            speech.feed(TEXT)
            await asyncio.sleep(0.01)
            speech.cancel()
            made.cloner.gate.set()
            heard = await listen(speech)
            await until(lambda: not made.engine._preparation)
            assert heard.end.reason is FinishReason.CANCELLED
            with pytest.raises(StopAsyncIteration):
                await anext(speech)


@both
async def test_closing_cancels_whatever_runs(flavour: Flavour) -> None:
    async with rig(flavour) as made:
        speeches = [made.engine.open(request()) for _ in range(3)]
        speeches[0].feed(TEXT)
        await until(lambda: made.notes.used > 3)
        await made.engine.close()
        await made.engine.close()
        for speech in speeches:
            assert (await listen(speech)).end.reason is FinishReason.CANCELLED
        with pytest.raises(EngineFailed):
            made.engine.open(request())


async def test_closing_while_a_recording_is_encoded() -> None:
    async with rig("at once", "0.6B-Base") as made:
        made.cloner.gate.clear()
        speech = made.engine.open(request(reference=Reference(SILENCE, "hello")))
        await asyncio.sleep(0.01)
        await made.engine.close()
        made.cloner.gate.set()
        assert (await listen(speech)).end.reason is FinishReason.CANCELLED


@both
async def test_an_idle_engine_takes_no_steps(flavour: Flavour) -> None:
    async with rig(flavour) as made:
        await speak(made.engine, request(), TEXT)
        steps = made.device.steps
        await asyncio.sleep(0.4)
        assert made.device.steps == steps
        parked = made.engine.open(request())
        parked.feed("Hello world, this is ")
        await until(lambda: made.engine.state().parked == 1)
        await asyncio.sleep(0.1)
        steps = made.device.steps
        await asyncio.sleep(0.4)
        assert made.device.steps == steps
        parked.cancel()


@both
async def test_whole_text_mode_speaks_when_the_text_is_complete(flavour: Flavour) -> None:
    async with rig(flavour) as made:
        whole = request(delivery=Delivery(text_mode=TextMode.WHOLE, max_lead=1e4))
        speech = made.engine.open(whole)
        speech.feed(TEXT[:20])
        await asyncio.sleep(0.1)
        assert made.notes.used == 0
        speech.feed(TEXT[20:])
        speech.end()
        heard: Heard = await listen(speech)
        again = await speak(made.engine, whole, TEXT)
        np.testing.assert_array_equal(heard.codes, again.codes)
