"""Long texts in segments: cut where sentences end, the same whatever the pieces, and nothing lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.api.events import FinishReason
from engine.api.request import Delivery, Sampling, SpeechRequest, TextMode
from engine.prompt.splitter import ANYWHERE, SENTENCE, TextSplitter
from tests.engine.drive import FLAVOURS, INCREMENTAL, WHOLE, Drive, Flavour, check_whole

BUDGET = 20


def cut(text: str, *, budget: int = BUDGET, least: int | None = None, size: int = 10_000) -> list[str]:
    """The segments of `text`, given in pieces of `size` characters."""
    splitter, parts = TextSplitter(budget, least), [""]
    for start in range(0, len(text), size):
        first, *more = splitter.split(text[start : start + size])
        parts[-1] += first
        parts += more
    return parts


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Short. Texts. Stay.", ["Short. Texts. Stay."]),
        ("This is the first one. And the second.", ["This is the first one. ", "And the second."]),
        ("It costs 3.14 or 3.15 pounds. Yes.", ["It costs 3.14 or 3.15 pounds. ", "Yes."]),
        ('He said "This is the end."  "Is it?"', ['He said "This is the end."  ', '"Is it?"']),
        ("A line without a full stop\nand another", ["A line without a full stop\n", "and another"]),
        (
            "这是一个很长很长很长很长很长很长很长的句子。」下一句。",
            ["这是一个很长很长很长很长很长很长很长的句子。」", "下一句。"],
        ),
        ("It ends with the sentence. \n", ["It ends with the sentence. \n"]),
        ("Then what has happened?! Well... it went on", ["Then what has happened?! ", "Well... it went on"]),
    ],
)
def test_cuts_lie_between_sentences(text: str, parts: list[str]) -> None:
    assert cut(text) == parts


def test_without_sentences_cuts_lie_between_words_and_at_last_anywhere() -> None:
    assert cut("word " * 20) == ["word " * 8, "word " * 8, "word " * 4]
    assert [len(part) for part in cut("好" * 130)] == [60, 60, 10]


@pytest.mark.parametrize("size", [1, 2, 7, 10_000])
@pytest.mark.parametrize(
    "parts",
    [
        ["One sentence. ", "Another one! ", "And is it the last?"],
        ["Yes. No. Maybe. ", "Who can tell?"],
        ["I saw Dr. Smith and Mrs. Jones. ", "They were well."],
        ["J. R. R. Tolkien wrote it. ", "He was from the U.K. but born elsewhere. ", "So it is."],
        ["We have e.g. apples, pears etc. in a basket. ", "Take some."],
        ["It is 3.14 or so. ", "In 2024. Then it was over. ", "In May 2024. ", "What then?"],
        ["He asked: “Who is it?” and left. ", "“It was me.” ", "Nobody heard."],
        ["Wait... what is this? ", "It is nothing."],
        ["First line without a stop\n", "second line without one\n\n", "Third line here"],
        ["今天天气很好，我们出去吧。", "你想去哪里？我都可以。", "好的，那就走吧！"],
        ["यह पहला वाक्य है। ", "यह दूसरा वाक्य है।"],
        ["هل أنت بخير اليوم؟ ", "نعم، شكرا لك."],
    ],
    ids=lambda parts: parts[0][:12],
)
def test_sentences_by_themselves(parts: list[str], size: int) -> None:
    assert cut("".join(parts), budget=1_000, least=SENTENCE, size=size) == parts
    assert cut("".join(parts), budget=0, least=SENTENCE, size=size) == parts


@given(text=st.text(alphabet='ab. 。」"\n!\u0301', max_size=200), size=st.integers(1, 7))
def test_the_pieces_do_not_matter_and_nothing_is_lost(text: str, size: int) -> None:
    for least in (1, 3):
        assert cut(text, budget=5, least=least, size=size) == cut(text, budget=5, least=least)
    parts = cut(text, budget=5)
    assert cut(text, budget=5, size=size) == parts
    assert "".join(parts) == text
    marks = text.count("\u0301") + sum(map(str.isspace, text))
    assert all(len(part) <= ANYWHERE * 5 + marks for part in parts)
    assert all(part.strip() for part in parts[1:])


def test_no_budget_no_cuts() -> None:
    assert cut("One. " * 100, budget=0) == ["One. " * 100]


@pytest.mark.parametrize("size", [1, 3, 1_000])
@pytest.mark.parametrize("mode", [INCREMENTAL, WHOLE])
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_segments_keep_the_voice_the_seed_and_the_count_of_flushes(flavour: Flavour, mode: TextMode, size: int) -> None:
    drive = Drive(flavour)
    talk = drive.open(_request(mode), seed=7)
    talk.sequence.text.splitter = TextSplitter(BUDGET)
    text = "This is the first one. And here the second comes. Third."
    for start in range(0, len(text), size):
        talk.sequence.text.append(text[start : start + size])
    talk.sequence.text.flush("m")
    talk.sequence.text.append("After the flush.")
    talk.sequence.text.end()
    assert talk.sequence.text.characters == len(text) + 16
    numbers = [segment.number for segment in talk.sequence.text.segments]
    talk.texts = [(part, None) for part in cut(text)[:-1]] + [(cut(text)[-1], "m"), ("After the flush.", None)]
    drive.run()
    assert numbers == [0, 0, 0, 1]
    assert talk.end is FinishReason.STOP
    check_whole(talk)
    drive.idle()


def _request(mode: TextMode) -> SpeechRequest:
    return SpeechRequest(sampling=Sampling(), delivery=Delivery(text_mode=mode))
