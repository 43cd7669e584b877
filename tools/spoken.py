"""How numbers, dates, times, money and signs are read aloud in American English: written text to words."""

import re
from re import Match

from num2words import num2words

_MONTH = r"(?:January|February|March|April|May|June|July|August|September|October|November|December)"
_LARGE = r"(?:hundred|thousand|million|billion)"


def spoken(text: str) -> str:
    """`text` with every digit spelled out, for a reader who knows letters and punctuation only."""
    for pattern, read in _RULES:
        text = re.sub(pattern, read, text)
    return re.sub(r" {2,}", " ", text).strip()


def _cardinal(digits: str) -> str:
    return str(num2words(int(digits.replace(",", "")))).replace(" and ", " ").replace(",", "")


def _ordinal(digits: str) -> str:
    return str(num2words(int(digits), to="ordinal")).replace(" and ", " ").replace(",", "")


def _digits(text: str) -> str:
    return " ".join(_cardinal(digit) for digit in text if digit.isdigit())


def _money(found: Match[str]) -> str:
    whole, cents, large = found.groups()
    if large:
        return f"{_number(found[0][1:].removesuffix(large).strip())} {large} dollars"
    dollars = f"{_cardinal(whole)} dollar{'' if whole == '1' else 's'}"
    return f"{dollars} and {_cardinal(cents)} cent{'' if cents == '01' else 's'}" if int(cents or 0) else dollars


def _time(found: Match[str]) -> str:
    hour, minute, half = found.groups()
    minutes = "" if int(minute) == 0 else f"oh {_cardinal(minute)}" if minute[0] == "0" else _cardinal(minute)
    half = " ".join(half[:1] + "M").upper() if half else "" if minutes else "o'clock"
    return " ".join(filter(None, (_cardinal(hour), minutes, half)))


def _year(found: Match[str]) -> str:
    year, decade = found.groups()
    words = str(num2words(int(year), to="year")).replace(" and ", " ")
    if not decade:
        return words
    return f"{words[:-1]}ies" if words.endswith("y") else f"{words}s"


def _number(text: str) -> str:
    whole, _, fraction = text.partition(".")
    return f"{_cardinal(whole)} point {_digits(fraction)}" if fraction else _cardinal(whole)


_RULES = (
    (rf"\$(\d[\d,]*)(?:\.(\d\d?))?(?: ({_LARGE})\b)?", _money),
    (r"\b(\d{1,2}):(\d\d)(?: ?([AaPp]\.?[Mm]\b\.?))?", _time),
    (r"\b(\d{1,2}) ?([AP])M\b", lambda found: f"{_cardinal(found[1])} {found[2]} M"),
    (r"\b\d{3}-\d{3}-\d{4}\b|\b\d{3}-\d{4}\b", lambda found: ", ".join(map(_digits, found[0].split("-")))),
    (rf"\b({_MONTH} )(\d{{1,2}})\b(?!\d|st|nd|rd|th|,\d|:)", lambda found: found[1] + _ordinal(found[2])),
    (r"\b(\d+)(?:st|nd|rd|th)\b", lambda found: _ordinal(found[1])),
    (r"\b(1[1-9]\d\d|20[0-3]\d)(s?)\b(?![,.]\d)", _year),
    (r"%", " percent"),
    (r"\$", " dollars "),
    (r"\s&\s", " and "),
    (r"(\d[\d,]*\.\d+)", lambda found: _number(found[1])),
    (r"\d+(?:,\d{3})+|\d{1,12}", lambda found: f" {_cardinal(found[0])} "),
    (r" +([,.;:!?'-])", r"\1"),
)
