"""Text with nothing to speak makes no audio, wherever it lies and whatever it is made of."""

import unicodedata

import pytest

from engine.api.events import FinishReason
from engine.api.request import Delivery, SpeechRequest, TextMode
from engine.prompt.splitter import TextSplitter
from engine.prompt.token_stream import speakable
from tests.engine.drive import FLAVOURS, INCREMENTAL, WHOLE, Drive, Flavour, Talk, check_whole

BLANKS = {
    "nothing": "",
    "space": " ",
    "lines": "\n\n",
    "controls": "\r\t\x0b\x0c\x00\x1b\x7f\x85",
    "separators": "\u2028\u2029\u00a0\u1680\u2003\u202f\u205f\u3000",
    "zero width": "\u200b\u200c\u200d\u2060\ufeff\u180e\u00ad",
    "directions": "\u200e\u200f\u061c\u202a\u202b\u202c\u202e\u2066\u2069",
    "selectors": "\ufe0f\ufe0e\u180b\U000e0100",
    "tags": "\U000e0001\U000e0041\U000e007f",
    "marks of many scripts": "\u0301\u0345\u05b0\u064e\u093f\u0e31\u302a\u3099\u20dd\u034f\u17b4",
    "fillers": "\u115f\u1160\u3164\uffa0\u2800",
    "unassigned": "\u0378\ue000\uffff\U0010fffd",
    "punctuation": "... — «?!» … 。、「」 ؟ ।",
    "signs": "*** --- ### === ~~~ |",
    "emoji": "👍🏽 ❤️ 👨‍👩‍👧 🇩🇪",
}
SPOKEN = ["a", "7", "é", "e\u0301", "你", "ж", "ع", "א", "ก", "अ", "가", "ー", "½", "①", "Ⅳ", "٣", "𝒳", "1️⃣", "...a"]
blanks = pytest.mark.parametrize("blank", BLANKS.values(), ids=BLANKS)
flavours = pytest.mark.parametrize("flavour", FLAVOURS)
modes = pytest.mark.parametrize("mode", [INCREMENTAL, WHOLE])
Part = str | None  # text, or a flush


def speak(flavour: Flavour, mode: TextMode, *parts: Part, budget: int = 1_000) -> tuple[Drive, Talk]:
    """A turn whose text comes at once: None is a flush."""
    drive = Drive(flavour)
    talk = drive.open(SpeechRequest(delivery=Delivery(text_mode=mode)))
    talk.sequence.text.splitter = TextSplitter(budget)
    for part in parts:
        if part is None:
            talk.flush(f"m{len(talk.texts)}")
        else:
            talk.feed(part)
    talk.sequence.text.end()
    return drive, talk


@blanks
def test_what_cannot_be_spoken(blank: str) -> None:
    assert not speakable(blank)
    assert speakable(blank + "a")


@pytest.mark.parametrize("text", SPOKEN)
def test_what_can_be_spoken(text: str) -> None:
    assert speakable(text)


def test_every_letter_and_number_can_be_spoken_and_nothing_else() -> None:
    fillers = {0x115F, 0x1160, 0x3164, 0xFFA0}
    for point in range(0x11_0000):
        spoken = unicodedata.category(chr(point))[0] in "LN" and point not in fillers
        assert speakable(chr(point)) is spoken, hex(point)


@flavours
@modes
@blanks
def test_a_blank_segment_is_silent_first_in_the_middle_and_last(flavour: Flavour, mode: TextMode, blank: str) -> None:
    drive, talk = speak(flavour, mode, blank, None, "Yes.", None, blank, None, blank, None, "No.", None, blank)
    drive.run()
    check_whole(talk)
    assert talk.end is FinishReason.STOP
    assert [mark for mark, _ in talk.marks] == ["m1", "m2", "m3", "m4", "m5"]
    assert talk.marks[0][1] == 0 < talk.marks[1][1] == talk.marks[2][1] == talk.marks[3][1] < talk.marks[4][1]
    assert talk.lasts[-1] and talk.marks[-1][1] == len(talk.codes)
    drive.idle()


@flavours
@modes
def test_text_may_become_speakable_late(flavour: Flavour, mode: TextMode) -> None:
    """What comes before it belongs to its sentence, as if all had come at once."""
    drive = Drive(flavour)
    talk = drive.open(SpeechRequest(delivery=Delivery(text_mode=mode)))
    for piece in ("\n", " \u200b", "...", " — «", "\u0301"):
        talk.feed(piece)
        drive.steps(5)
        assert drive.device.steps == 0 and talk.sequence.starving
    talk.feed("Yes, it is.")
    talk.sequence.text.end()
    drive.run()
    check_whole(talk)
    assert talk.codes
    drive.idle()


@flavours
@modes
def test_what_follows_a_sentence_stays_with_it(flavour: Flavour, mode: TextMode) -> None:
    drive, talk = speak(flavour, mode, "Yes.", " \n", "...", " 🙂")
    drive.run()
    check_whole(talk)
    drive.idle()


@flavours
@modes
def test_parts_of_a_long_text_without_speech_are_passed_over(flavour: Flavour, mode: TextMode) -> None:
    text = "Here it begins. And here " + "." * 120 + " It ends."
    drive, talk = speak(flavour, mode, text, budget=20)
    parts = TextSplitter(20).split(text)
    talk.texts = [(part, None) for part in parts]
    assert [speakable(part) for part in parts] == [True, False, False, True]
    drive.run()
    check_whole(talk)
    drive.idle()


@flavours
@modes
def test_a_blank_segment_takes_no_slot(flavour: Flavour, mode: TextMode) -> None:
    """A turn that lost its slot while it waited answers its flushes from the queue."""
    drive = Drive(flavour, slots=1)
    talk = drive.open(SpeechRequest(delivery=Delivery(text_mode=mode)))
    talk.feed("Yes.")
    talk.flush("a")
    while not talk.marks:
        drive.now += 0.0 if drive.step() else 0.1
    drive.now += 10.0
    other = drive.open(SpeechRequest(delivery=Delivery(text_mode=mode)))
    other.feed("Here I am, and here I stay for as long as it takes.")
    other.sequence.text.flush("b")
    drive.now += 10.0
    drive.steps(3)
    assert talk.sequence.slot is None and other.sequence.slot is not None
    talk.feed("\u3000\n")
    talk.flush("c")
    drive.steps(2)
    assert [mark for mark, _ in talk.marks] == ["a", "c"] and talk.sequence.slot is None
    drive.cancel(talk)
    drive.cancel(other)
    drive.idle()
