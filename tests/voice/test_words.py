"""How a voice is judged: numbers as they are read, words without their marks, and the errors between two texts."""

import pytest

pytest.importorskip("num2words", reason="needs tools/eval_voice/requirements.txt")

from tools.eval_voice.speaking import pieces
from tools.eval_voice.words import plain_words, word_error_rate, word_errors
from tools.spoken import spoken


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("It costs $12.50, or $3 million.", "It costs twelve dollars and fifty cents, or three million dollars."),
        ("At 3:05 PM or 12:00.", "At three oh five P M or twelve o'clock."),
        ("Call 555-123-4567.", "Call five five five, one two three, four five six seven."),
        ("On March 3, 1987 and the 22nd.", "On March third, nineteen eighty-seven and the twenty-second."),
        ("The 1990s, 17% of 2,300.", "The nineteen nineties, seventeen percent of two thousand three hundred."),
        ("Room 402, 3.14 miles.", "Room four hundred two, three point one four miles."),
        ("Nothing to change here.", "Nothing to change here."),
    ],
)  # fmt: skip
def test_numbers_are_read_as_people_read_them(written: str, read: str) -> None:
    assert spoken(written) == read


def test_words_are_compared_as_they_sound() -> None:
    assert plain_words("OK, Mr. O'Neil: it's 5:30!") == "okay mister oneil its five thirty".split()
    assert word_errors("It's 20 degrees, OK?", "its twenty degrees okay") == 0


@pytest.mark.parametrize(
    ("said", "heard", "errors"),
    [
        ("a b c d", "a b c d", 0),
        ("a b c d", "a x c d", 1),
        ("a b c d", "a c d", 1),
        ("a b c d", "a b b c d", 1),
        ("a b c d", "b c d a", 2),
        ("a b c d", "", 4),
        ("", "a b", 2),
    ],
)
def test_errors_are_the_fewest_changes(said: str, heard: str, errors: int) -> None:
    assert word_errors(said, heard) == errors


def test_the_rate_counts_words_and_not_sentences() -> None:
    assert word_error_rate([("one two three", "one two three"), ("four", "for")]) == 0.25


def test_pieces_are_the_text() -> None:
    assert list(pieces("Hello big world.")) == ["Hello ", "big ", "world."]
