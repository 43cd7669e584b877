"""The scheduler over a fake device, at once and one step ahead: every speech comes to what it would alone."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.api.errors import GenerationFailed, RequestTooLarge
from engine.api.events import FinishReason
from engine.api.request import Delivery, Sampling, SamplingParams, SpeechRequest, TextMode
from engine.api.voice import Voice
from tests.engine.drive import FLAVOURS, INCREMENTAL, WHOLE, Drive, Flavour, Preemptions, Talk, check_part, check_whole

TEXT = "Hello world, how is the light of this morning? The river and the old man. "
GREEDY = SamplingParams(temperature=0.0)
RECORDED = Voice(embedding=np.ones(4, np.float32), codes=np.arange(80, dtype=np.int32).reshape(5, 16), transcript="x")

both = pytest.mark.parametrize("flavour", FLAVOURS)
modes = pytest.mark.parametrize("mode", [INCREMENTAL, WHOLE])


def request(mode: TextMode = INCREMENTAL, **delivery: Any) -> SpeechRequest:
    return SpeechRequest(delivery=Delivery(text_mode=mode, **{"max_lead": 1e4, **delivery}))


@both
@modes
@pytest.mark.parametrize("voice", [None, RECORDED, Voice()], ids=["named", "recorded", "none"])
@pytest.mark.parametrize("columns", [3, 64])
def test_a_speech_comes_to_what_the_plain_loop_says(
    flavour: Flavour, mode: TextMode, voice: Voice | None, columns: int
) -> None:
    drive = Drive(flavour, columns=columns)
    talk = drive.open(request(mode), seed=3, voice=voice, instruct=9)
    talk.say(TEXT)
    drive.run()
    check_whole(talk)
    drive.idle()


@both
@modes
def test_sixteen_at_staggered_starts(flavour: Flavour, mode: TextMode) -> None:
    drive = Drive(flavour, slots=16)
    for seed in range(16):
        talk = drive.open(request(mode, first_chunk_frames=1 + seed % 5), seed=seed, instruct=seed)
        talk.say(TEXT[seed:])
        drive.steps(seed % 4)
    drive.run()
    for talk in drive.talks.values():
        check_whole(talk)
    drive.idle()


@both
@modes
def test_preemption_for_lack_of_blocks_changes_nothing(flavour: Flavour, mode: TextMode) -> None:
    observer = Preemptions()
    drive = Drive(flavour, slots=4, blocks=30, observer=observer)
    for seed in range(8):
        drive.open(request(mode), seed=seed).say(TEXT)
    drive.run()
    for talk in drive.talks.values():
        check_whole(talk)
    assert "kv" in observer.reasons
    drive.idle()


@both
def test_text_in_single_characters(flavour: Flavour) -> None:
    drive = Drive(flavour)
    talk = drive.open(request())
    for character in TEXT:
        talk.feed(character)
        drive.step()
    talk.sequence.text.end()
    drive.run()
    check_whole(talk)


@both
@pytest.mark.parametrize("early", [True, False, None])
@pytest.mark.parametrize("pick", [SamplingParams(), GREEDY], ids=["sampled", "greedy"])
def test_an_end_before_the_text_has_ended(flavour: Flavour, early: bool | None, pick: SamplingParams) -> None:
    """Text that comes after the model has ended the segment is passed over, as it is when all of it comes at once."""
    for seed in range(12):
        drive = Drive(flavour)
        sampling = Sampling(talker=pick, end_before_text=early)
        talk = drive.open(replace(request(), sampling=sampling), seed=seed)
        for word in TEXT.split(" "):
            talk.feed(word + " ")
            drive.steps(6)
        talk.flush("middle")
        talk.feed("Hello again, world. ")
        drive.steps(40)
        talk.sequence.text.end()
        drive.run()
        check_whole(talk)
        drive.idle()


@both
def test_the_frame_limit_cuts_the_turn_across_segments(flavour: Flavour) -> None:
    for limit in range(1, 40):
        drive = Drive(flavour)
        talk = drive.open(replace(request(), sampling=Sampling(max_frames=limit)))
        talk.feed("Hello world. ")
        talk.flush("one")
        talk.feed("And the river.")
        talk.flush("two")
        talk.sequence.text.end()
        drive.run()
        check_whole(talk)
        drive.idle()


@both
@modes
def test_flushes_first_last_and_empty(flavour: Flavour, mode: TextMode) -> None:
    drive = Drive(flavour)
    talk = drive.open(request(mode))
    talk.flush("first")
    talk.feed("Hello world. ")
    talk.flush("one")
    talk.flush("empty")
    talk.feed("")
    talk.flush("still empty")
    talk.feed("And the river.")
    talk.flush("two")
    talk.flush("last")
    talk.sequence.text.end()
    drive.run()
    assert [mark for mark, _ in talk.marks] == ["first", "one", "empty", "still empty", "two", "last"]
    assert talk.lasts[-1]
    check_whole(talk)
    drive.idle()


@both
def test_a_mark_is_answered_while_later_text_is_awaited(flavour: Flavour) -> None:
    drive = Drive(flavour)
    talk = drive.open(request())
    talk.feed("Hello world. ")
    talk.flush("one")
    drive.steps(200)
    assert [mark for mark, _ in talk.marks] == ["one"]
    assert talk.lasts[-1] is False
    assert drive.pool.used == 0
    talk.say("And more.")
    drive.run()
    check_whole(talk)


@both
def test_a_parked_speech_gives_way_and_comes_back_unchanged(flavour: Flavour) -> None:
    drive = Drive(flavour, slots=1)
    parked = drive.open(request(), seed=1)
    parked.feed("Hello world, this is ")
    drive.steps(30)
    assert parked.sequence.starving
    other = drive.open(request(), seed=2)
    other.say(TEXT)
    drive.steps(5)
    assert other.codes == []  # too early to take the slot away
    drive.now += 2.0
    while other.end is None:
        drive.step()
    assert parked.sequence.slot is None
    parked.say("the end of it.")
    drive.run()
    check_whole(parked)
    check_whole(other)
    drive.idle()


@both
def test_a_parked_speech_keeps_its_slot_while_nobody_needs_it(flavour: Flavour) -> None:
    drive = Drive(flavour, slots=1)
    parked = drive.open(request())
    parked.feed("Hello world, this is ")
    drive.steps(30)
    drive.now += 60.0
    drive.steps(5)
    assert parked.sequence.slot is not None


@both
def test_one_who_waits_without_text_does_not_block_those_who_have_it(flavour: Flavour) -> None:
    drive = Drive(flavour, slots=1)
    parked, silent, ready = (drive.open(request(), seed=seed) for seed in range(3))
    parked.feed("Hello world, this is ")
    ready.say("And the river.")
    drive.steps(30)
    drive.now += 2.0
    drive.steps(60)
    check_whole(ready)
    parked.say("it.")
    silent.say("Now.")
    drive.run()
    check_whole(parked)
    check_whole(silent)


@both
def test_pacing_holds_the_lead_and_changes_nothing(flavour: Flavour) -> None:
    drive = Drive(flavour)
    talk = drive.open(request(max_lead=0.5), seed=4)
    talk.say(TEXT)
    while talk.end is None:
        drive.step()
        assert talk.sequence.lead(drive.now) <= 0.5 + 0.081
    check_whole(talk)
    assert drive.now > 0.08 * len(talk.codes) - 1.0


@both
def test_a_listener_who_stops_reading_stops_the_synthesis(flavour: Flavour) -> None:
    drive = Drive(flavour)
    talk = drive.open(request(max_lead=0.5, max_chunk_frames=2), seed=4)
    talk.reading = False
    talk.say(TEXT)
    for _ in range(3000):
        drive.step()
    assert 0 < len(talk.codes) <= 7
    talk.reading = True
    talk.read()
    drive.run()
    check_whole(talk)


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """No speech ends by itself."""
    monkeypatch.setattr("tests.engine.fake_runner.MAY_END_ODDS", 1 << 62)


@both
@pytest.mark.usefixtures("endless")
def test_the_cap_ends_a_speech_that_will_not_end(flavour: Flavour) -> None:
    drive = Drive(flavour)
    talk = drive.open(request())
    talk.say("Hello world")
    drive.run()
    assert talk.end is FinishReason.LENGTH
    assert len(talk.codes) == 100 + 25 * 2
    check_whole(talk)


@both
def test_a_row_that_breaks_fails_alone(flavour: Flavour) -> None:
    drive = Drive(flavour)
    broken, sound = drive.open(request(), seed=1), drive.open(request(), seed=2)
    broken.say(TEXT)
    sound.say(TEXT)
    drive.steps(10)
    assert broken.sequence.slot is not None
    drive.device.breaks.add(broken.sequence.slot)
    drive.run()
    assert isinstance(broken.end, GenerationFailed)
    check_part(broken)
    check_whole(sound)
    drive.idle()


@both
@modes
@pytest.mark.usefixtures("endless")
def test_a_prompt_that_no_pool_can_hold_is_refused(flavour: Flavour, mode: TextMode) -> None:
    drive = Drive(flavour, blocks=4)
    talk, other = drive.open(request(mode), instruct=6 if mode is WHOLE else 20), drive.open(request())
    talk.say("Hello world " * 10)
    other.say("Hi")
    drive.run()
    assert isinstance(talk.end, RequestTooLarge)
    assert other.end is FinishReason.LENGTH  # the pool holds so many frames of it
    check_part(other)
    drive.idle()


@both
@pytest.mark.parametrize("positions", range(1, 9))
def test_prompts_that_fill_blocks_exactly(flavour: Flavour, positions: int) -> None:
    drive = Drive(flavour, block_size=4)
    talk = drive.open(request(), instruct=positions)
    talk.say("Hello")
    drive.run()
    check_whole(talk)
    drive.idle()


@both
def test_cancel_at_every_step_returns_slot_and_blocks(flavour: Flavour) -> None:
    for steps in range(60):
        drive = Drive(flavour, slots=1, columns=4)
        cancelled, other = drive.open(request(), seed=1), drive.open(request(), seed=2)
        cancelled.say("Hello world. ")
        other.say("And the river.")
        drive.steps(steps)
        drive.cancel(cancelled)
        assert cancelled.sequence.slot is None
        assert not cancelled.sequence.blocks
        drive.run()
        check_part(cancelled)
        check_whole(other)
        drive.idle()


# ---- any schedule

PIECES = [TEXT, TEXT[:30], "Hello world", " the river is", ",", " 你好。\n", " it's", "  ", "a", ""]
VERBS = ["feed", "feed", "flush", "end", "end", "cancel", "stall", "step", "step", "step", "step", "wait"]
Action = tuple[str, int, int]


@dataclass(frozen=True)
class BatchBuilder:
    """A speech to open: what it starts with, and when."""

    request: SpeechRequest
    seed: int
    voice: Voice | None
    first: str
    delay: int


@st.composite
def plans(draw: st.DrawFn) -> BatchBuilder:
    sampling = Sampling(
        talker=draw(st.sampled_from([SamplingParams(), SamplingParams(), GREEDY])),
        max_frames=draw(st.none() | st.integers(1, 30)),
        end_before_text=draw(st.sampled_from([None, None, None, True])),
    )
    delivery = Delivery(
        text_mode=draw(st.sampled_from([INCREMENTAL, INCREMENTAL, WHOLE])),
        first_chunk_frames=draw(st.integers(1, 12)),
        max_chunk_frames=draw(st.integers(1, 12)),
        max_lead=draw(st.sampled_from([0.08, 0.5, 1e4, 1e4])),
    )
    return BatchBuilder(
        SpeechRequest(sampling=sampling, delivery=delivery),
        seed=draw(st.integers(0, 3)),
        voice=draw(st.sampled_from([None, None, RECORDED, Voice()])),
        first=draw(st.sampled_from([TEXT, TEXT, TEXT[:40], ""])),
        delay=draw(st.integers(0, 12)),
    )


def act(drive: Drive, talk: Talk, verb: str, number: int) -> None:
    open_text = not talk.sequence.text.ended and talk.end is None
    match verb:
        case "feed" if open_text:
            talk.feed(PIECES[number])
        case "flush" if open_text:
            talk.flush(f"mark {number}")
        case "end" if open_text:
            talk.sequence.text.end()
        case "cancel":
            drive.cancel(talk)
        case "stall":
            talk.reading = not talk.reading
        case "wait":
            drive.now += number / 3
        case _:
            drive.steps(1 + number)


def open_all(drive: Drive, opened: list[BatchBuilder]) -> list[Talk]:
    talks = []
    for plan in opened:
        talks.append(drive.open(plan.request, seed=plan.seed, voice=plan.voice))
        talks[-1].feed(plan.first)
        drive.steps(plan.delay)
    return talks


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    flavour=st.sampled_from(FLAVOURS),
    slots=st.integers(1, 4),
    blocks=st.sampled_from([18, 25, 1000]),
    columns=st.sampled_from([3, 64]),
    opened=st.lists(plans(), min_size=1, max_size=6),
    script=st.lists(st.tuples(st.sampled_from(VERBS), st.integers(0, 5), st.integers(0, 9)), max_size=40),
)
def test_any_schedule(
    flavour: Flavour, slots: int, blocks: int, columns: int, opened: list[BatchBuilder], script: list[Action]
) -> None:
    drive = Drive(flavour, slots=slots, blocks=blocks, columns=columns)
    talks = open_all(drive, opened)
    for verb, who, number in script:
        act(drive, talks[who % len(talks)], verb, number)
    for talk in talks:
        talk.reading = True
        talk.read()
        if talk.end is None and not talk.sequence.text.ended:
            talk.sequence.text.end()
    drive.run()
    for talk in talks:
        cut_short = {FinishReason.CANCELLED} if blocks == 1000 else {FinishReason.CANCELLED, FinishReason.LENGTH}
        complete = isinstance(talk.end, FinishReason) and talk.end not in cut_short
        (check_whole if complete else check_part)(talk)
    drive.idle()
