"""American English readings of written text.

Numbers, money, dates, times, addresses, abbreviations, codes.
A table of patterns, applied one after the other: what is left after the last has words and punctuation alone.
"""

import re
from collections.abc import Callable
from re import Match

from num2words import num2words

_MONTHS = tuple(
    "January February March April May June July August September October November December".split()
)  # fmt: skip
_SHORT = {month[:3]: month for month in _MONTHS} | {"Sept": "September"}
_MONTH = rf"(?:{'|'.join(_MONTHS)})"
_LARGE = {"K": "thousand", "k": "thousand", "M": "million", "B": "billion"}
_SCALE = r"(?:hundred|thousand|million|billion|trillion)"
_CURRENCIES = {"$": ("dollar", "cent"), "€": ("euro", "cent"), "£": ("pound", "penny")}
_DOMAINS = r"(?:com|org|net|edu|gov|info|io|ai|app|dev|co|us|uk|ca|de)"
_SIGNS = {".": " dot ", "@": " at ", "_": " underscore ", "-": " dash ", "/": " slash ", "+": " plus "}
_FRACTIONS = {"1/2": "a half", "1/3": "a third", "2/3": "two thirds", "1/4": "a quarter", "3/4": "three quarters"}
_UNITS = {
    "°F": "degrees Fahrenheit", "°C": "degrees Celsius", "°": "degrees", "%": "percent", "mph": "miles per hour",
    "km/h": "kilometers per hour", "km": "kilometers", "cm": "centimeters", "mm": "millimeters", "kg": "kilograms",
    "mg": "milligrams", "ml": "milliliters", "lbs": "pounds", "lb": "pounds", "oz": "ounces", "ft": "feet",
    "GB": "gigabytes", "MB": "megabytes", "hrs": "hours", "hr": "hours", "mins": "minutes", "min": "minutes",
}  # fmt: skip
_ABBREVIATED = {
    "Dr": "Doctor", "Mr": "Mister", "Mrs": "Missus", "Ms": "Miz", "Prof": "Professor", "Gov": "Governor",
    "Sen": "Senator", "Capt": "Captain", "Lt": "Lieutenant", "Sgt": "Sergeant", "Gen": "General", "Jr": "Junior",
    "Sr": "Senior", "Mt": "Mount", "Ave": "Avenue", "Blvd": "Boulevard", "Rd": "Road", "Apt": "Apartment",
    "Dept": "Department", "Inc": "Incorporated", "Ltd": "Limited", "Corp": "Corporation", "vs": "versus",
    "approx": "approximately", "appt": "appointment", "tel": "telephone", "ext": "extension",
}  # fmt: skip
_NAMED = "(?:number|code|pin|extension|zip|account|id)"  # what is read digit by digit
_LETTERS = "ATM|CEO|DVD|FAQ|GPS|HR|ID|PDF|SMS|TV|UK|URL|US|USA|USB|VIP|AI|API|CD|PC|DC|NYC|LA|BBC|FBI|PhD"


def spoken(text: str) -> str:
    """`text` as words with punctuation, in letters alone."""
    for pattern, read in _RULES:
        text = re.sub(pattern, read, text)
    return re.sub(r" {2,}", " ", text).strip()


def _cardinal(digits: str) -> str:
    return str(num2words(int(digits.replace(",", "")))).replace(" and ", " ").replace(",", "")


def _ordinal(digits: str) -> str:
    return str(num2words(int(digits), to="ordinal")).replace(" and ", " ").replace(",", "")


def _digits(text: str) -> str:
    return " ".join(_cardinal(digit) for digit in text if digit.isdigit())


def _number(text: str) -> str:
    whole, _, fraction = text.partition(".")
    return f"{_cardinal(whole or '0')} point {_digits(fraction)}" if fraction else _cardinal(whole)


def _letters(text: str) -> str:
    return " ".join(text.upper())


def _money(found: Match[str]) -> str:
    (unit, part), amount, cents, large = _CURRENCIES[found[1]], found[2], found[3], found[4] or found[5]
    if large:
        return f"{_number(amount + (f'.{cents}' if cents else ''))} {_LARGE.get(large, large)} {unit}s"
    whole = f"{_cardinal(amount)} {_counted(unit, amount)}"
    if not int(cents or 0):
        return whole
    rest = f"{_cardinal(cents)} {_counted(part, cents)}"
    return rest if amount == "0" else f"{whole} and {rest}"


def _counted(noun: str, number: str) -> str:
    return noun if int(number.replace(",", "")) == 1 else "pence" if noun == "penny" else f"{noun}s"


def _time(found: Match[str]) -> str:
    hour, minute, half = found.groups()
    minutes = "" if int(minute) == 0 else f"oh {_cardinal(minute)}" if minute[0] == "0" else _cardinal(minute)
    half = _letters(half[0] + "M") if half else "" if minutes else "o'clock"
    return " ".join(filter(None, (_cardinal(hour), minutes, half)))


def _year(found: Match[str]) -> str:
    words, decade = _year_words(found[1]), found[2]
    if not decade:
        return words
    return f"{words[:-1]}ies" if words.endswith("y") else f"{words}s"


def _year_words(year: str) -> str:
    return str(num2words(int(year), to="year")).replace(" and ", " ")


def _date(month: str, day: str, year: str) -> str:
    year = f"20{year}" if len(year) == 2 else year
    return f"{_MONTHS[int(month) - 1]} {_ordinal(day)}, {_year_words(year)}"


def _address(found: Match[str]) -> str:
    """E-mail or web address, sign by sign; digits singly."""
    text = re.sub(r"^https?://", "", found[0]).replace("www.", "w w w.")
    text = "".join(_SIGNS.get(sign, sign) for sign in text)
    return re.sub(r"\d", lambda digit: f" {_cardinal(digit[0])} ", text)


def _phone(found: Match[str]) -> str:
    return ", ".join(_digits(group) for group in re.findall(r"\d+", found[0]))


def _code(found: Match[str]) -> str:
    """Mixed letters with digits, as in a reference number."""
    parts = re.findall(r"[A-Z]+|\d+", found[0])
    return " ".join(_letters(p) if p.isalpha() else _cardinal(p) if len(p) < 3 else _digits(p) for p in parts)


def _words(table: dict[str, str]) -> str:
    return "|".join(re.escape(word) for word in sorted(table, key=len, reverse=True))


_Read = str | Callable[[Match[str]], str]
_RULES: tuple[tuple[str, _Read], ...] = (
    (r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+|\b(?:https?://|www\.)[\w./-]*[\w/]", _address),
    (rf"\b[a-z0-9-]+(?:\.[a-z0-9-]+)*\.{_DOMAINS}\b(?:/[\w/-]*\w)?", _address),
    (r"\be\.g\.", "for example"),
    (r"\bi\.e\.", "that is"),
    (r"\betc\.", "et cetera"),
    (r"\b([AaPp])\.[Mm]\.(?=\s+[A-Z]|\s*$)", r"\1m."),
    (r"\b([AaPp])\.[Mm]\.", r"\1m"),
    (r"\b(?:[A-Z]\.){2,}", lambda found: _letters(found[0].replace(".", ""))),
    (r"(?<=[a-z] )St\.(?=\s*$)", "Street."),
    (r"(?<=[a-z] )St\.(?=\s+[a-z]|[,;?!])", "Street"),
    (r"\bSt\.(?= [A-Z])", "Saint"),
    (r"\b(?:No|no)\. ?(?=\d)|#(?=\d)", "number "),
    (rf"\b({_words(_ABBREVIATED)})\.(?=\s*$)", lambda found: f"{_ABBREVIATED[found[1]]}."),
    (rf"\b({_words(_ABBREVIATED)})\.", lambda found: _ABBREVIATED[found[1]]),
    (rf"\b(?:{_words(_SHORT)})\b\.?(?= \d)", lambda found: _SHORT[found[0].rstrip(".")]),
    (r"\b(\d{4})-(0\d|1[0-2])-(\d\d)\b", lambda found: _date(found[2], found[3], found[1])),
    (r"\b(0?[1-9]|1[0-2])/(0?[1-9]|[12]\d|3[01])/(\d{4}|\d\d)\b", lambda found: _date(*found.groups())),
    (r"(?:\+?\b1[ -.])?\(\d{3}\) ?\d{3}[-. ]\d{4}\b", _phone),
    (r"\+?\b(?:1[-. ])?\d{3}[-.]\d{3}[-.]\d{4}\b|\b\d{3}-\d{4}\b|\+\d{1,2}(?: \d{2,4}){2,4}\b", _phone),
    (rf"([$€£])(\d+(?:,\d{{3}})*)(?:\.(\d\d?))?(?:([KkMB])\b| ({_SCALE})\b)?", _money),
    (r"\b(\d{1,2}):(\d\d)(?: ?([AaPp])[Mm]\b)?", _time),
    (r"\b(\d{1,2}) ?([AaPp])[Mm]\b", lambda found: f"{_cardinal(found[1])} {_letters(found[2] + 'M')}"),
    (rf"\b({_MONTH} )(\d{{1,2}})\b(?!\d|st|nd|rd|th|,\d|:)", lambda found: found[1] + _ordinal(found[2])),
    (r"\b(\d+)(?:st|nd|rd|th)\b", lambda found: _ordinal(found[1])),
    (r"\b24/7\b", "twenty-four seven"),
    (rf"\b(\d+) ({_words(_FRACTIONS)})(?!\d)", lambda found: f"{_cardinal(found[1])} and {_FRACTIONS[found[2]]}"),
    (rf"(?<!\d)({_words(_FRACTIONS)})(?!\d)", lambda found: _FRACTIONS[found[1]]),
    (rf"(?i)\b({_NAMED}(?: is| was|:)?) (\d{{4,}})\b", lambda found: f"{found[1]} {_digits(found[2])}"),
    (r"\b\d(?:-\d){2,}\b", lambda found: _digits(found[0])),
    (rf"(?<=\d) ?({_words(_UNITS)})(?![A-Za-z])(?:\.(?= [a-z]))?", lambda found: f" {_UNITS[found[1]]}"),
    (r"\b(1[1-9]\d\d|20[0-3]\d)(s?)\b(?![,.]\d|-\d)", _year),
    (r"(?<=\d)-(?=\d)", " to "),
    (r"\b(?=[A-Z]*\d)(?=\d*[A-Z])[A-Z\d]{2,}\b", _code),
    (rf"\b(?:{_LETTERS})\b", lambda found: _letters(found[0])),
    (r"[$€£]", ""),
    (r"\s&\s", " and "),
    (r"(?<=\w)/(?=\w)", " slash "),
    (r"(\d[\d,]*\.\d+)", lambda found: _number(found[1])),
    (r"\b\d{5,}\b(?<!000)", lambda found: _digits(found[0])),
    (r"\d+(?:,\d{3})+|\d{1,12}", lambda found: f" {_cardinal(found[0])} "),
    (r" +([,.;:!?'-])", r"\1"),
)  # fmt: skip
