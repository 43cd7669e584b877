"""Evenness of pace: letters a second, by quarter of turn."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

QUARTERS = 4
Words = Sequence[tuple[float, float, str]]  # start and end in seconds, and what is said


def quarters(words: Words) -> NDArray[np.float64]:
    """Letters a second, (QUARTERS,), from first word to last.

    Zeros for a turn without words. A word's letters are spread over its time.
    """
    letters = np.zeros(QUARTERS)
    if not words:
        return letters
    edges = np.linspace(words[0][0], words[-1][1], QUARTERS + 1)
    for start, end, word in words:
        shares = np.clip(np.minimum(end, edges[1:]) - np.maximum(start, edges[:-1]), 0, None)
        letters += sum(map(str.isalnum, word)) * shares / max(1e-6, end - start)
    pace: NDArray[np.float64] = letters / max(1e-6, edges[1] - edges[0])
    return pace
