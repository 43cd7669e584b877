"""Word errors between two texts, as plain spoken words."""

import re
from collections.abc import Sequence

from training.corpus.spoken import spoken

_SAME = {"ok": "okay", "alright": "all right", "grey": "gray", "colour": "color", "miss": "miz"}
_JOINED = 4  # words that sound like one, or like as many others, when they are written without spaces
_CLOCK = re.compile(r"\b(\d{1,2})\.([0-5]\d)\b")  # a recogniser's way to write a time


def plain_words(text: str) -> list[str]:
    """Spoken words of `text`: lower case, numbers spelled out.

    Without punctuation.
    """
    bare = re.sub(r"[^a-z ]", " ", spoken(text).lower().replace("'", "").replace("’", ""))
    return " ".join(_SAME.get(word, word) for word in bare.split()).split()


def word_errors(said: str, heard: str) -> int:
    """Fewest substitutions, insertions, deletions that turn `said` into `heard`.

    A difference in spaces alone is no error, nor is a time with a point for its colon.
    """
    readings = {heard, _CLOCK.sub(r"\1:\2", heard)}
    return min(distance(plain_words(said), plain_words(reading)) for reading in readings)


def word_error_rate(pairs: Sequence[tuple[str, str]]) -> float:
    """Word error rate over all pairs of (said, heard)."""
    return sum(word_errors(*pair) for pair in pairs) / max(1, sum(len(plain_words(said)) for said, _ in pairs))


def distance(left: Sequence[str], right: Sequence[str]) -> int:
    """Levenshtein distance in words, blind to spaces between them.

    Words that are the same letters in a row are the same.
    """
    rows = [list(range(len(right) + 1))]
    for i, ours in enumerate(left, 1):
        row = [i]
        for j, theirs in enumerate(right, 1):
            least = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (ours != theirs))
            row.append(min([least, *_joined(rows, left[:i], right[:j])]))
        rows.append(row)
    return rows[-1][-1]


def _joined(rows: list[list[int]], left: Sequence[str], right: Sequence[str]) -> list[int]:
    """Distances before trailing words that are the same letters.

    Up to `_JOINED` words on each side.
    """
    ours = {"".join(left[-k:]): k for k in range(1, min(_JOINED, len(left)) + 1)}
    theirs = {"".join(right[-k:]): k for k in range(1, min(_JOINED, len(right)) + 1)}
    return [rows[len(left) - ours[run]][len(right) - theirs[run]] for run in ours.keys() & theirs.keys()]
