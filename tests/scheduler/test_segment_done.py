"""What was heard: every text that was a prompt of its own is told with its range and its place, and nothing else is."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.api.events import FinishReason
from engine.api.request import Delivery, Sampling, SamplingParams, SpeechRequest
from engine.prompt.splitter import SENTENCE, TextSplitter
from engine.prompt.text_filter import MarkupFilter
from engine.scheduler.sequence import RESERVE
from tests.engine.drive import FLAVOURS, INCREMENTAL, WHOLE, Drive, Flavour, Talk, check_whole

flavours = pytest.mark.parametrize("flavour", FLAVOURS)
modes = pytest.mark.parametrize("mode", [INCREMENTAL, WHOLE, None])
TEXT = "This is the first one. And here the second comes! Dr. Who is third? Yes. No."
SENTENCES = ["This is the first one. ", "And here the second comes! ", "Dr. Who is third? ", "Yes. No."]


def open_talk(drive: Drive, by_sentence: bool = True, **fields: object) -> Talk:
    request = SpeechRequest(sampling=Sampling(**fields))  # type: ignore[arg-type]
    talk = drive.open(request)
    talk.sequence.text.splitter = TextSplitter(1_000, SENTENCE if by_sentence else None)
    return talk


def ranges(talk: Talk, text: str) -> list[str]:
    return [text[done.text_start : done.text_end] for done in talk.done]


def check_places(talk: Talk) -> None:
    """They are in order, side by side in the audio, and none is empty."""
    frame = 0
    for done in talk.done:
        assert (done.first_frame, done.frames > 0) == (frame, True)
        frame += done.frames
    assert frame == len(talk.codes)


@flavours
@pytest.mark.parametrize("size", [1, 3, 1_000])
def test_each_sentence_is_told_where_that_is_asked_for(flavour: Flavour, size: int) -> None:
    drive = Drive(flavour)
    talk = open_talk(drive)
    for start in range(0, len(TEXT), size):
        talk.sequence.text.append(TEXT[start : start + size])
    talk.sequence.text.flush("m")
    talk.sequence.text.append("  After the flush.")
    talk.sequence.text.end()
    drive.run()
    assert ranges(talk, TEXT + "  After the flush.") == [*SENTENCES, "  After the flush."]
    assert [done.segment for done in talk.done] == [0, 0, 0, 0, 1]
    assert {done.text_mode for done in talk.done} == {WHOLE}
    check_places(talk)
    talk.texts = [*((part, None) for part in SENTENCES[:-1]), (SENTENCES[-1], "m"), ("  After the flush.", None)]
    talk.modes = [WHOLE] * 5
    check_whole(talk)
    drive.idle()


@flavours
@modes
def test_sentences_go_together_unasked(flavour: Flavour, mode: object) -> None:
    drive = Drive(flavour)
    talk = drive.open(SpeechRequest(delivery=Delivery(text_mode=mode)))  # type: ignore[arg-type]
    talk.feed(TEXT)
    talk.flush("a")
    talk.flush("b")
    talk.feed("\n...")
    talk.flush("c")
    talk.say("\u200b The end.")
    drive.run()
    assert [(done.text_start, done.text_end, done.segment) for done in talk.done] == [
        (0, len(TEXT), 0),
        (len(TEXT) + 4, len(TEXT) + 14, 3),
    ]
    assert {done.text_mode for done in talk.done} == {mode or WHOLE}
    check_places(talk)


LONG = "The first of them is rather long, and it goes on for a while, word after word, until it has come to its end. "
OTHERS = ["The second is short enough. ", "So is the third one, I think. "]


def stream(drive: Drive, talk: Talk, text: str) -> None:
    """A word each 70 ms, which is faster than they are spoken."""
    for word in text.split(" ")[:-1]:
        talk.sequence.text.append(word + " ")
        drive.steps(2)
        drive.now += 0.05


@flavours
def test_a_stream_is_whole_from_its_second_sentence_on(flavour: Flavour) -> None:
    """While the listener has audio, the end of a sentence is awaited."""
    drive = Drive(flavour)
    talk = open_talk(drive)
    stream(drive, talk, LONG + "".join(OTHERS))
    talk.sequence.text.end()
    drive.run()
    assert ranges(talk, LONG + "".join(OTHERS)) == [LONG, *OTHERS]
    assert [done.text_mode for done in talk.done] == [INCREMENTAL, WHOLE, WHOLE]
    assert talk.sequence.playback.underruns == 0
    check_places(talk)


@flavours
def test_a_sentence_is_awaited_no_longer_than_the_listener_has_audio(flavour: Flavour) -> None:
    drive = Drive(flavour)
    talk = open_talk(drive)
    stream(drive, talk, LONG)
    talk.sequence.text.append(OTHERS[0][:15])
    while len(talk.done) < 1:
        drive.step()
    assert not drive.step() and talk.sequence.paced(drive.now)
    due = drive.scheduler.wake_at(drive.now)
    assert due is not None and talk.sequence.slack(due) == pytest.approx(RESERVE)
    drive.now = due
    drive.steps(4)
    assert len(talk.codes) > talk.done[0].frames
    assert talk.sequence.playback.underruns == 0
    talk.sequence.text.append(OTHERS[0][15:])
    talk.sequence.text.end()
    drive.run()
    assert [done.text_mode for done in talk.done] == [INCREMENTAL, INCREMENTAL]
    check_places(talk)


@flavours
@pytest.mark.parametrize("size", [1, 4, 1_000])
def test_ranges_are_those_of_the_text_as_it_came(flavour: Flavour, size: int) -> None:
    """What is left out between two sentences belongs to the first, what is held at a flush is spoken before it."""
    drive = Drive(flavour)
    talk = open_talk(drive)
    talk.sequence.text.markup = MarkupFilter()
    parts = ["# **This** is one. <br/>\n", "And [here](http://x.y) is 🙂 two. ", "It ends in [three"]
    text = "".join(parts)
    for start in range(0, len(text), size):
        talk.sequence.text.append(text[start : start + size])
    talk.sequence.text.flush("m")
    talk.sequence.text.append("<b>- four</b>")
    talk.sequence.text.end()
    drive.run()
    assert ranges(talk, text + "<b>- four</b>") == [*parts, "<b>- four</b>"]
    spoken = ["This is one. \n", "And here is two. ", "It ends in [three", "- four"]
    talk.texts = [(spoken[0], None), (spoken[1], None), (spoken[2], "m"), (spoken[3], None)]
    talk.modes = [WHOLE] * 4
    check_whole(talk)
    drive.idle()


@flavours
@modes
def test_the_parts_of_a_long_text_are_told(flavour: Flavour, mode: object) -> None:
    drive = Drive(flavour)
    talk = drive.open(SpeechRequest(delivery=Delivery(text_mode=mode)))  # type: ignore[arg-type]
    talk.sequence.text.splitter = TextSplitter(20)
    text = "This is the first one. And here the second comes. Third." + "." * 70
    talk.sequence.text.append(text)
    talk.sequence.text.end()
    drive.run()
    parts = TextSplitter(20).split(text)
    assert ranges(talk, text) == [part for part in parts if part.strip(".")]
    check_places(talk)


@flavours
def test_what_is_cut_short_is_not_told(flavour: Flavour) -> None:
    drive = Drive(flavour)
    limited, cancelled = open_talk(drive, max_frames=30, seed=5), open_talk(drive)
    limited.say(f"{TEXT} " * 5)
    cancelled.say(TEXT)
    while not cancelled.done:
        drive.step()
    drive.steps(2)
    drive.cancel(cancelled)
    drive.run()
    assert limited.end is FinishReason.LENGTH
    assert sum(done.frames for done in limited.done) < 30
    every = TextSplitter(1_000, SENTENCE).split(f"{TEXT} " * 5)
    assert ranges(limited, f"{TEXT} " * 5) == every[: len(limited.done)] != every
    assert ranges(cancelled, TEXT) == SENTENCES[: len(cancelled.done)] != SENTENCES


@flavours
@pytest.mark.parametrize("early", [True, False])
def test_what_the_model_left_unread_is_not_told(flavour: Flavour, early: bool) -> None:
    """A speech that may end before its text often does."""
    text = "Hello world, how is the light of this morning? The river and the old man. "
    told = 0
    for seed in range(10):
        drive = Drive(flavour)
        delivery = Delivery(text_mode=INCREMENTAL)
        request = SpeechRequest(
            sampling=Sampling(SamplingParams(), SamplingParams(), end_before_text=early), delivery=delivery
        )
        talk = drive.open(request, seed=seed)
        talk.say(text)
        tokens = talk.sequence.segment.tokens
        drive.run()
        assert bool(talk.done) == (len(talk.codes) >= tokens)
        told += len(talk.done)
    assert told < 10 if early else told == 10


@flavours
def test_text_that_comes_after_an_early_end_is_not_told(flavour: Flavour) -> None:
    drive = Drive(flavour)
    request = SpeechRequest(
        sampling=Sampling(SamplingParams(), SamplingParams(), end_before_text=True), delivery=Delivery(INCREMENTAL)
    )
    for seed in range(5):
        talk = drive.open(request, seed=seed)
        talk.feed("Hello world, how is the light of this morning, and the river, and the old man, and all? ")
        while talk.sequence.segment.finish is None:
            drive.step()
        talk.say("And more.")
        drive.run()
        assert not talk.done


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=st.lists(st.one_of(st.none(), st.text(alphabet='aB. 。!"\n\u200b', max_size=9)), max_size=12),
    by_sentence=st.booleans(),
    flavour=st.sampled_from(FLAVOURS),
)
def test_ranges_never_overlap_and_leave_out_what_cannot_be_spoken(
    pieces: list[str | None], by_sentence: bool, flavour: Flavour
) -> None:
    drive = Drive(flavour)
    talk = open_talk(drive, by_sentence)
    text = ""
    for number, piece in enumerate(pieces):
        if piece is None:
            talk.sequence.text.flush(f"{number}")
        else:
            talk.sequence.text.append(piece)
            text += piece
        drive.steps(number % 3)
    talk.sequence.text.end()
    drive.run()
    end, left_out = 0, ""
    for done in talk.done:
        assert end <= done.text_start < done.text_end
        left_out += text[end : done.text_start]
        end = done.text_end
    left_out += text[end:]
    assert not set(left_out) & set("aB")
    check_places(talk)
