"""How a voice is judged: numbers as they are read, words without their marks, and the errors between two texts."""

import pytest

pytest.importorskip("num2words", reason="needs training/evaluate/requirements.txt")

from training.corpus.spoken import spoken
from training.evaluate.speaking import pieces
from training.evaluate.words import plain_words, word_error_rate, word_errors


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("It costs $12.50, or $3 million.", "It costs twelve dollars and fifty cents, or three million dollars."),
        ("$1,347.20, $0.99, $1.2M.",
         "one thousand three hundred forty-seven dollars and twenty "
         "cents, ninety-nine cents, one point two million dollars."),
        ("£5.50 or €20.", "five pounds and fifty pence or twenty euros."),
        ("At 9:45am, 5pm or 10 a.m. sharp.", "At nine forty-five A M, five P M or ten A M sharp."),
        ("(212) 555-0176 or +1 555 123 4567.",
         "two one two, five five five, zero one seven six or "
         "one, five five five, one two three, four five six seven."),
        ("Write to jane.doe42@example.com.", "Write to jane dot doe four two at example dot com."),
        ("See www.example.com/help.", "See w w w dot example dot com slash help."),
        ("Dr. Lee of 12 Oak St. met Mrs. Fox.", "Doctor Lee of twelve Oak Street met Missus Fox."),
        ("St. Louis vs. the U.S., etc.", "Saint Louis versus the U S, et cetera"),
        ("Due 03/14/2025 or 2025-10-02.",
         "Due March fourteenth, twenty twenty-five "
         "or October second, twenty twenty-five."),
        ("Code BX4729, PIN 4821, order #48213.",
         "Code B X four seven two nine, PIN four "
         "eight two one, order number four eight two one three."),
        ("72°F, 5 lbs. of rice, 3-5 days, 1/2 cup.",
         "seventy-two degrees Fahrenheit, five pounds of rice, "
         "three to five days, a half cup."),
        ("Room B12, 5-6-7, 24/7.", "Room B twelve, five six seven, twenty-four seven."),
        ("Send a PDF to HR & me.", "Send a P D F to H R and me."),
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
    assert word_errors("At 7:45.", "At 7.45.") == word_errors("All right.", "Alright") == 0
    assert word_errors("At 7:45.", "At 7.4.") > 0


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
        ("a mail box", "a mailbox", 0),
        ("support at north", "supportatnorth", 0),
        ("ab c", "a bd", 2),
    ],
)
def test_errors_are_the_fewest_changes(said: str, heard: str, errors: int) -> None:
    assert word_errors(said, heard) == errors


def test_the_rate_counts_words_and_not_sentences() -> None:
    assert word_error_rate([("one two three", "one two three"), ("four", "for")]) == 0.25


def test_pieces_are_the_text() -> None:
    assert list(pieces("Hello big world.")) == ["Hello ", "big ", "world."]
