"""Cuts of a text into segments at sentence ends.

A cut lies at the first sentence end past a budget of characters, or past the least of them.
The cuts depend on the text alone, not on the pieces in which it comes: each is decided by the character before which it
lies. A sentence ends after a full stop and white space, after an East Asian full stop, or at the end of a line; closing
quotes and brackets, and white space, stay with the sentence before them. A title or a single letter and its full stop
end none, nor does a full stop before a small letter.
"""

import unicodedata
from enum import Enum

BUDGET = 1_000  # characters: about 90 s of English
SENTENCE = 8  # characters of a sentence too short for a segment
STOPS, WIDE_STOPS, CLOSERS = frozenset(".!?…؟۔।॥።"), frozenset("。！？｡"), frozenset("\"'”’」』）)]》")
TITLES = frozenset("mr mrs ms mx dr prof rev hon st vs fig sr sra dra mme mlle bzw ca nr".split())
LONGEST_WORD = 8  # characters of a word that count
WORDS, ANYWHERE = 2, 3  # budgets after which a cut may lie between words, and anywhere


class _Seen(Enum):
    """End of the text so far, as cuts need it."""

    INSIDE = 0
    BLANK = 1  # white space between words
    STOP = 2  # a full stop, which white space must follow
    WIDE_STOP = 3  # one that needs none
    END = 4  # a sentence end and white space
    LINE = 5  # a line's end


class TextSplitter:
    """Splitter of one speech's text.

    A budget of 0 never cuts, but at sentence ends past `least` characters.
    """

    def __init__(self, budget: int = BUDGET, least: int | None = None) -> None:
        self._budget = budget
        self._least = budget if least is None else least
        self._length = 0  # of the segment so far
        self._seen = _Seen.INSIDE
        self._word = ""  # at the end of the text

    def restart(self) -> None:
        """Begin a segment, after a flush."""
        self._length, self._seen, self._word = 0, _Seen.INSIDE, ""

    def split(self, text: str) -> list[str]:
        """`text` in parts: the first continues the current segment.

        Each other part begins a new segment.
        """
        parts, start = [], 0
        place = self._skip(text, 0)
        while place < len(text):
            if self._cuts_before(text[place]):
                parts.append(text[start:place])
                start = place
                self.restart()
                place = self._skip(text, place)
            else:
                self._note(text[place])
                place += 1
        return [*parts, text[start:]]

    def _skip(self, text: str, place: int) -> int:
        """Skip to the segment's least length; return the index there."""
        left = self._least - self._length if self._least else len(text)
        stop = min(len(text), place + max(0, left))
        self._length += stop - place
        self._word = _last_word(self._word + text[max(place, stop - LONGEST_WORD) : stop])
        return stop

    def _cuts_before(self, character: str) -> bool:
        if character.isspace() or unicodedata.combining(character):
            return False
        if self._budget and self._length >= ANYWHERE * self._budget:
            return True
        if self._budget and self._length >= WORDS * self._budget and self._seen is _Seen.BLANK:
            return True
        match self._seen:
            case _Seen.LINE:
                return True
            case _Seen.END:
                return not character.islower()
            case _Seen.WIDE_STOP:
                return character not in CLOSERS | STOPS | WIDE_STOPS
        return False

    def _note(self, character: str) -> None:
        """Append `character` to the segment's state."""
        abbreviates = character == "." and _abbreviates(self._word)
        self._seen = _Seen.INSIDE if abbreviates else _after(self._seen, character)
        self._word = (self._word + character)[-LONGEST_WORD:] if character.isalnum() else ""
        self._length += 1


def _abbreviates(word: str) -> bool:
    """Whether a full stop after `word` ends no sentence."""
    return (len(word) == 1 and word.isalpha()) or word.lower() in TITLES


def _last_word(text: str) -> str:
    """Trailing letters or numbers of `text`, at most LONGEST_WORD."""
    start = max((place + 1 for place, character in enumerate(text) if not character.isalnum()), default=0)
    return text[start:][-LONGEST_WORD:]


def _after(seen: _Seen, character: str) -> _Seen:
    """State after `character`."""
    if character in "\n\r":
        return _Seen.LINE
    if character.isspace():
        return {_Seen.INSIDE: _Seen.BLANK, _Seen.BLANK: _Seen.BLANK, _Seen.LINE: _Seen.LINE}.get(seen, _Seen.END)
    if character in WIDE_STOPS:
        return _Seen.WIDE_STOP
    if character in STOPS:
        return _Seen.WIDE_STOP if seen is _Seen.WIDE_STOP else _Seen.STOP
    if character in CLOSERS and seen in (_Seen.STOP, _Seen.WIDE_STOP):
        return seen
    return _Seen.INSIDE
