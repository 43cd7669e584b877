"""Where the text goes unasked: whole where it is complete when the prompt is made, else token by token."""

import numpy as np
import pytest

from engine.api.errors import RequestTooLarge
from engine.api.request import Delivery, Reference, Sampling, SpeechRequest, TextMode
from engine.prompt.builder import PROMPT_SHARE, PromptBuilder
from engine.prompt.splitter import TextSplitter
from engine.scheduler.segment import Segment
from tests.engine.drive import FLAVOURS, INCREMENTAL, WHOLE, Drive, Flavour, check_whole
from tests.engine.tiny import tiny_config, tiny_tokenizer

TEXT = "Hello world, how is the light of this morning?"
UNASKED = SpeechRequest(delivery=Delivery(max_lead=1e4))
flavours = pytest.mark.parametrize("flavour", FLAVOURS)


@flavours
def test_a_complete_text_is_in_the_prompt(flavour: Flavour) -> None:
    drive = Drive(flavour)
    talk = drive.open(UNASKED)
    talk.say(TEXT)
    assert talk.sequence.text.mode is WHOLE
    talk.modes = [WHOLE]
    drive.run()
    check_whole(talk)
    drive.idle()


@flavours
def test_a_text_that_is_awaited_goes_in_as_it_comes(flavour: Flavour) -> None:
    drive = Drive(flavour)
    talk = drive.open(UNASKED)
    talk.feed(TEXT[:20])
    assert talk.sequence.text.mode is INCREMENTAL
    drive.steps(3)
    talk.say(TEXT[20:])
    assert talk.sequence.text.mode is INCREMENTAL
    talk.modes = [INCREMENTAL]
    drive.run()
    check_whole(talk)
    drive.idle()


@flavours
def test_each_segment_goes_where_it_can_when_its_turn_comes(flavour: Flavour) -> None:
    """The first is awaited, the second has come by then, the third is awaited while the second is spoken."""
    drive = Drive(flavour)
    talk = drive.open(UNASKED)
    talk.feed("Hello there, ")
    drive.steps(3)
    talk.feed("my old friend.")
    talk.flush("a")
    talk.feed("How is the light?")
    talk.flush("b")
    talk.feed("And the river ")
    while len(talk.marks) < 2:
        drive.now += 0.0 if drive.step() else 0.1
    drive.now += 10.0  # the listener has heard it all
    drive.steps(3)
    talk.say("is calm.")
    talk.modes = [INCREMENTAL, WHOLE, INCREMENTAL]
    drive.run()
    check_whole(talk)
    drive.idle()


@flavours
def test_text_that_comes_to_its_end_in_the_queue_is_whole(flavour: Flavour) -> None:
    drive = Drive(flavour, slots=1)
    first = drive.open()
    first.say(TEXT)
    drive.steps(3)
    talk = drive.open(UNASKED)
    talk.feed(TEXT[:30])
    drive.steps(5)
    assert talk.sequence.slot is None and talk.sequence.text.mode is INCREMENTAL
    talk.say(TEXT[30:])
    assert talk.sequence.text.mode is WHOLE
    talk.modes = [WHOLE]
    drive.run()
    check_whole(talk)
    drive.idle()


@flavours
@pytest.mark.parametrize("whole", [False, True])
def test_preemption_keeps_what_was_decided(flavour: Flavour, whole: bool) -> None:
    drive = Drive(flavour, slots=2, blocks=24)
    talk, other = drive.open(UNASKED, seed=1), drive.open(seed=2)
    other.sequence.arrived = -1.0
    talk.feed(TEXT)
    if whole:
        talk.sequence.text.end()
    drive.steps(3)
    other.say(TEXT * 2)
    drive.steps(10)
    if not whole:
        talk.sequence.text.end()
    talk.modes = [WHOLE if whole else INCREMENTAL]
    drive.run()
    check_whole(talk)
    check_whole(other)
    drive.idle()


def test_blank_segments_are_passed_over_when_the_start_is_told() -> None:
    talk = Drive("at once").open(UNASKED)
    talk.feed("\n")
    talk.flush("a")
    assert talk.sequence.text.mode is INCREMENTAL
    talk.feed(TEXT)
    assert talk.sequence.text.mode is INCREMENTAL
    talk.flush("b")
    assert talk.sequence.text.mode is WHOLE


@flavours
def test_a_text_that_would_fill_the_cache_goes_in_as_it_is_spoken(flavour: Flavour) -> None:
    """Whatever is not asked for must not fail; what is asked for is exact."""
    drive = Drive(flavour, blocks=60)
    layout = PromptBuilder(tiny_config(), tiny_tokenizer(), None, positions=240).build(UNASKED)
    assert layout.whole_tokens == 240 // PROMPT_SHARE
    words = "word " * 300
    for mode, request in ((INCREMENTAL, UNASKED), (WHOLE, SpeechRequest(delivery=Delivery(text_mode=WHOLE)))):
        talk = drive.open(SpeechRequest(sampling=Sampling(max_frames=20), delivery=request.delivery))
        talk.sequence.set_layout(PromptBuilder(tiny_config(), tiny_tokenizer(), None, positions=240).build(request))
        talk.sequence.text.splitter = TextSplitter(0)
        talk.say(words)
        assert talk.sequence.text.mode is mode
        drive.run()
        if mode is WHOLE:
            assert isinstance(talk.end, RequestTooLarge)
        else:
            talk.modes = [INCREMENTAL]
            check_whole(talk)
    drive.idle()


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("0.6B-CustomVoice", WHOLE),
        ("1.7B-CustomVoice", WHOLE),
        ("1.7B-VoiceDesign", WHOLE),
        ("0.6B-Base", INCREMENTAL),
        ("1.7B-Base", INCREMENTAL),
    ],
)
def test_the_default_is_the_references_for_the_kind(kind: str, mode: TextMode) -> None:
    layouts = PromptBuilder(tiny_config(kind), tiny_tokenizer(), None)
    for asked, wanted in ((None, mode), (INCREMENTAL, INCREMENTAL), (WHOLE, WHOLE)):
        assert (layouts.default_mode or WHOLE) is mode
        segment = Segment(layouts.build(_request(kind, asked)), tiny_tokenizer(), 0, 0)
        segment.append(TEXT)
        segment.end(None)
        assert segment.mode is wanted


def _request(kind: str, mode: TextMode | None) -> SpeechRequest:
    reference = Reference(np.zeros(24_000, np.float32), "x") if "Base" in kind else None
    return SpeechRequest(reference=reference, delivery=Delivery(text_mode=mode))
