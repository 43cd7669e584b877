"""Where a long text is cut into segments: at the first sentence end past a budget of characters.

The cuts depend on the text alone, not on the pieces in which it comes: each is decided by the character before which it
lies. A sentence ends after a full stop and white space, after an East Asian full stop, or at the end of a line; closing
quotes and brackets, and white space, stay with the sentence before them.
"""

import unicodedata
from enum import Enum

BUDGET = 1_000  # characters: some minute and a half of English
STOPS, WIDE_STOPS, CLOSERS = frozenset(".!?…"), frozenset("。！？｡"), frozenset("\"'”’」』）)]》")
WORDS, ANYWHERE = 2, 3  # budgets after which a cut may lie between words, and anywhere


class _Seen(Enum):
    """What the text ends in so far, as far as it matters for a cut before the next character."""

    INSIDE = 0
    BLANK = 1  # white space between words
    STOP = 2  # a full stop, which white space must follow
    WIDE_STOP = 3  # one that needs none
    END = 4  # a sentence end and white space, or a line's end


class Sentences:
    """Cuts one speech's text. A budget of 0 never cuts."""

    def __init__(self, budget: int = BUDGET) -> None:
        self._budget = budget
        self._length = 0  # of the segment so far
        self._seen = _Seen.INSIDE

    def begin(self) -> None:
        """A segment begins, because a flush ended the one before."""
        self._length, self._seen = 0, _Seen.INSIDE

    def feed(self, text: str) -> list[str]:
        """`text` in parts: the first belongs to the segment so far, each other one begins a new segment."""
        parts, start = [], 0
        place = self._skip(text, 0)
        while place < len(text):
            if self._cuts_before(text[place]):
                parts.append(text[start:place])
                start = place
                self.begin()
                place = self._skip(text, place)
            else:
                self._seen = _after(self._seen, text[place])
                self._length, place = self._length + 1, place + 1
        return [*parts, text[start:]]

    def _skip(self, text: str, place: int) -> int:
        """Pass over what the budget holds in any case; return the place after it."""
        left = self._budget - self._length if self._budget else len(text)
        stop = min(len(text), place + max(0, left))
        self._length += stop - place
        return stop

    def _cuts_before(self, character: str) -> bool:
        if character.isspace() or unicodedata.combining(character):
            return False
        if self._length >= ANYWHERE * self._budget:
            return True
        if self._length >= WORDS * self._budget and self._seen is _Seen.BLANK:
            return True
        stays = character in CLOSERS or character in STOPS or character in WIDE_STOPS
        return self._seen is _Seen.END or (self._seen is _Seen.WIDE_STOP and not stays)


def _after(seen: _Seen, character: str) -> _Seen:
    """What the text ends in once `character` has come."""
    if character in "\n\r":
        return _Seen.END
    if character.isspace():
        return _Seen.BLANK if seen in (_Seen.INSIDE, _Seen.BLANK) else _Seen.END
    if character in WIDE_STOPS:
        return _Seen.WIDE_STOP
    if character in STOPS:
        return _Seen.WIDE_STOP if seen is _Seen.WIDE_STOP else _Seen.STOP
    if character in CLOSERS and seen in (_Seen.STOP, _Seen.WIDE_STOP):
        return seen
    return _Seen.INSIDE
