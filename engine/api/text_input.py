"""Checks of a speech's incoming text."""

import time
from abc import ABC, abstractmethod

from engine.api.errors import InvalidRequest, TextTooLong


class TextInput(ABC):
    """Caller's side of a speech's text, with its checks.

    `came` is `time.monotonic()` when a piece reached the server, None where that was just now.
    """

    def __init__(self, most_characters: int) -> None:
        self._most_characters = most_characters

    @property
    @abstractmethod
    def speakable(self) -> bool:
        """Whether any text so far is speakable."""

    @property
    @abstractmethod
    def characters(self) -> int:
        """Characters so far."""

    @property
    @abstractmethod
    def text_ended(self) -> bool:
        """Whether the text has ended."""

    def feed(self, text: str, came: float | None = None) -> None:
        """Append text verbatim; it may end inside a word.

        Raises `TextTooLong` past the limit of characters, `InvalidRequest` after the end of the text.
        """
        self._check_open("text")
        if self.characters + len(text) > self._most_characters:
            raise TextTooLong(f"the text is over {self._most_characters} characters")
        self._feed(text, _or_now(came))

    def flush(self, mark: str, came: float | None = None) -> None:
        """Synthesise all text so far, then send `FlushDone(mark)`.

        Later text starts the next segment. Raises `InvalidRequest` after the end of the text.
        """
        self._check_open("flush")
        self._flush(mark, _or_now(came))

    def end(self, came: float | None = None) -> None:
        """End the text; raises `InvalidRequest` if none is speakable."""
        if self.text_ended:
            return
        self._drain()
        if not self.speakable:
            raise InvalidRequest("text", "has nothing to speak", "TEXT_EMPTY")
        self._end(_or_now(came))

    @abstractmethod
    def _feed(self, text: str, came: float) -> None: ...

    @abstractmethod
    def _flush(self, mark: str, came: float) -> None: ...

    @abstractmethod
    def _drain(self) -> None:
        """Append text that is still held back."""

    @abstractmethod
    def _end(self, came: float) -> None: ...

    def _check_open(self, field: str) -> None:
        if self.text_ended:
            raise InvalidRequest(field, "came after the end of the text")


def _or_now(came: float | None) -> float:
    return time.monotonic() if came is None else came
