"""Word errors: two texts as plain spoken words, and how many of them have to be changed to make one of the other."""

import re
from collections.abc import Sequence

from tools.spoken import spoken

_SAME = {"ok": "okay", "mr": "mister", "mrs": "missus", "dr": "doctor", "grey": "gray", "colour": "color"}


def plain_words(text: str) -> list[str]:
    """The words of `text` as they are spoken: lower case, numbers spelled out, no punctuation."""
    bare = re.sub(r"[^a-z ]", " ", spoken(text).lower().replace("'", "").replace("’", ""))
    return [_SAME.get(word, word) for word in bare.split()]


def word_errors(said: str, heard: str) -> int:
    """Substitutions, insertions and deletions that make the words heard of the words said (Levenshtein)."""
    return distance(plain_words(said), plain_words(heard))


def word_error_rate(pairs: Sequence[tuple[str, str]]) -> float:
    """Errors in all pairs of (said, heard), as a share of the words said."""
    return sum(word_errors(*pair) for pair in pairs) / max(1, sum(len(plain_words(said)) for said, _ in pairs))


def distance(left: Sequence[str], right: Sequence[str]) -> int:
    """Levenshtein's distance, row by row."""
    row = list(range(len(right) + 1))
    for i, ours in enumerate(left, 1):
        above, row = row, [i]
        for j, theirs in enumerate(right, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (ours != theirs)))
    return row[-1]
