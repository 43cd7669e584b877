"""The spoken texts, each with a fixed length.

Random weights never end a speech by themselves.
"""

import unicodedata
from dataclasses import dataclass
from pathlib import Path

BUILT_IN = Path(__file__).with_name("prompts.txt")
FRAMES_PER_SECOND = 12.5
CHARACTERS_PER_SECOND = 13.5  # unhurried English; the built-in texts then last 5 s on average
WIDE = 3.0  # a Chinese, Japanese or Korean character takes about as long as three Latin ones


@dataclass(frozen=True, slots=True)
class Prompt:
    """A text with its length in frames of 80 ms.

    `id` is its line number.
    """

    id: str
    text: str
    frames: int


def read_prompts(path: Path = BUILT_IN) -> list[Prompt]:
    """One prompt a line; empty lines are skipped.

    Raises OSError, ValueError where there is none.
    """
    lines = path.read_text("utf-8").splitlines()
    prompts = [Prompt(str(number), line, frames(line)) for number, line in enumerate(lines, 1) if line.strip()]
    if not prompts:
        raise ValueError(f"{path} holds no text")
    return prompts


def frames(text: str) -> int:
    """Codec frames to speak `text`, estimated from its length."""
    characters = sum(WIDE if unicodedata.east_asian_width(letter) in "WF" else 1.0 for letter in text)
    return max(1, round(FRAMES_PER_SECOND * characters / CHARACTERS_PER_SECOND))
