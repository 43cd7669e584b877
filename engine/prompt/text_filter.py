"""Removal of markup from a growing text.

What markup encloses stays, and every character keeps its offset.
The result does not depend on the pieces in which the text comes: what may still become markup is held until it is, or
cannot be.
"""

import html
import re
from typing import NamedTuple

from engine.prompt import markup
from engine.prompt.markup import Construct

HELD = 1_000  # characters; longer text is no markup
CLOSING = {"(": ")", "[": "]"}  # of a link's target


class Filtered(NamedTuple):
    """Remaining text with its characters' offsets in the input."""

    text: str
    places: list[int]


class _Wait(Exception):
    """The decision needs more text."""


class MarkupFilter:
    """Streaming filter of pieces of any size.

    Call `end` at a flush, and at the end of the text.
    """

    def __init__(self) -> None:
        self._start = 0  # offset of `_held` in the input
        self._begin()

    def push(self, text: str) -> Filtered:
        """Remaining text that later text cannot change.

        It follows what earlier calls returned.
        """
        self._held += text
        return self._run(len(self._held))

    def end(self) -> Filtered:
        """The rest; the filter then starts anew."""
        length, self._final = len(self._held), True
        self._held += "\n"  # what must follow some constructs
        rest = self._run(length)
        self._begin()
        return rest

    def _begin(self) -> None:
        self._held, self._final = "", False
        self._at = 0  # index in `_held`
        self._before = self._last = "\n"  # the character before, the last one kept
        self._line_start, self._row = True, False
        self._dropped = self._break = self._emoji = False  # since the last character kept
        self._label_end = -1  # offset in the input
        self._until = ""  # end of the skipped part
        self._depth = 0
        self._texts: list[str] = []
        self._places: list[int] = []

    def _run(self, length: int) -> Filtered:
        self._at = 0
        try:
            while self._at < length:
                at = self._at
                self._step(self._held[at])
                self._before = self._held[self._at - 1]
        except _Wait:
            pass
        self._held, self._start = self._held[self._at :], self._start + self._at
        out = Filtered("".join(self._texts), self._places)
        self._texts, self._places = [], []
        return out

    def _step(self, character: str) -> None:
        """Pass at least one character."""
        if self._until:
            return self._pass_over(character)
        if self._start + self._at == self._label_end:
            self._until, self._depth = CLOSING[self._held[self._at + 1]], 1
            return self._drop(2)
        if not (self._line_start and self._marker(character)):
            self._inline(character)

    def _pass_over(self, character: str) -> None:
        """Skip inside a link's target or a fence's line.

        The end of a line ends a target as well.
        """
        if character == "\n" and self._until != "\n":
            self._until = ""
            return self._inline(character)
        self._depth += (character == "(" and self._until == ")") - (character == self._until)
        if self._depth == 0:
            self._line_start, self._until = character == "\n", ""
        self._drop(1)

    def _marker(self, character: str) -> bool:
        """Drop a marker at a line's start; False without one."""
        if character == "\n" or character.isspace():
            return False
        self._row = character == "|"
        if self._matches(markup.FENCE):
            self._until, self._depth = "\n", 1
            self._drop(1)
            return True
        for construct in (markup.RULE, markup.HEADING, markup.BULLET, markup.QUOTE):
            if match := self._matches(construct):
                self._drop(len(match[0]))
                self._line_start = construct is markup.QUOTE
                return True
        self._line_start = False
        return False

    def _inline(self, character: str) -> None:
        match character:
            case "\\" if self._matches(markup.ESCAPE):
                self._drop(1)
                self._keep(1)
            case "`" if match := self._matches(markup.CODE):
                self._drop(len(match[0]))
            case "*" | "_" | "~" if match := self._matches(markup.EMPHASIS):
                self._emphasis(match[0])
            case "|" if self._row:
                match = self._matches(markup.CELL)
                self._drop(len(match[0]) if match else 1, apart=True)
            case "[" if match := self._matches(markup.LINK, markup.FOOTNOTE):
                self._bracket(match)
            case "!" if match := self._matches(markup.LINK):
                self._bracket(match)
            case "<" if match := self._matches(markup.COMMENT, markup.ADDRESS, markup.TAG):
                self._drop(len(match[0]), apart=bool(markup.BREAKS.match(match[0])))
            case "&" if match := self._matches(markup.ENTITY):
                self._entity(match[0])
            case "\n":
                self._keep(1)
                self._line_start = True
            case _ if markup.JOINED.match(character) and (self._emoji or not _joins(character)):
                self._drop(1, apart=True)
                self._emoji = True
            case _:
                plain = markup.PLAIN.match(self._held, self._at, len(self._held) - self._final)
                self._keep(len(plain[0]) if plain else 1)

    def _emphasis(self, run: str) -> None:
        """Drop stars, underscores, tildes, unless they are plain signs.

        They are signs between blanks, digits, or parts of a name.
        """
        before, after = self._before, self._held[self._at + len(run)]
        inside = (run[0] == "_" and before.isalnum() and after.isalnum()) or (before.isdigit() and after.isdigit())
        if inside or run == "~" or (before.isspace() and after.isspace()):
            self._keep(len(run))
        else:
            self._drop(len(run))

    def _bracket(self, match: re.Match[str]) -> None:
        """Drop a footnote; keep the label of a link.

        Images count as links.
        """
        if not match[0].endswith("]"):
            self._label_end = self._start + self._held.index("]", match.end())
        self._drop(len(match[0]))

    def _entity(self, name: str) -> None:
        meant = html.unescape(name)
        self._keep(len(name), name if meant == name else meant.replace("\xa0", " "))

    def _matches(self, *constructs: Construct) -> re.Match[str] | None:
        """Match of one of `constructs` here, or None.

        Raises `_Wait` where that is not decided yet.
        """
        end = min(len(self._held), self._at + HELD + 1)
        open_end = not self._final and end == len(self._held) and end - self._at <= HELD
        if open_end and any(construct.part.fullmatch(self._held, self._at, end) for construct in constructs):
            raise _Wait
        matches = (construct.whole.match(self._held, self._at, end) for construct in constructs)
        return next((match for match in matches if match), None)

    def _drop(self, count: int, apart: bool = False) -> None:
        """Drop `count` characters.

        `apart`: words on both sides of them do not become one.
        """
        self._at += count
        self._dropped, self._break, self._emoji = True, self._break or apart, False

    def _keep(self, count: int, text: str = "") -> None:
        """Keep `count` characters, or `text` in their place.

        Blanks around what is dropped become one.
        """
        place = self._start + self._at
        kept = text or self._held[self._at : self._at + count]
        self._at += count
        if self._dropped and self._last.isspace() and kept.isspace() and kept != "\n":
            return
        if self._break and kept[0].isalnum() and not self._last.isspace():
            self._texts.append(" ")
            self._places.append(place)
        self._texts.append(kept)
        self._places += [place] * len(kept) if text else range(place, place + count)
        self._last = kept[-1]
        self._dropped = self._break = self._emoji = False


def _joins(character: str) -> bool:
    """Whether it belongs to an emoji only behind one."""
    return character == "\u200d" or "\U000e0020" <= character <= "\U000e007f"
