"""Patterns of markup: Markdown, SSML, HTML, entities, emoji."""

import re
from typing import NamedTuple

EMOJI = (
    "\U0001f000-\U0001faff\u2600-\u2775\u2794-\u27bf\u2b00-\u2bff\u231a\u231b\u23e9-\u23fa\u25aa\u25ab\u25b6\u25c0"
    "\u25fb-\u25fe\u2934\u2935\ufe0e\ufe0f\u20e3"
)
PLAIN = re.compile(rf"[^\\`*_~|\[\]!<&\s{EMOJI}]+")  # no markup begins with it, but at the start of a line
JOINED = re.compile(f"[{EMOJI}\u200d\U000e0020-\U000e007f]")  # goes on with an emoji
BREAKS = re.compile(r"</?(?:break|br|dd|div|dt|h[1-6]|hr|li|ol|p|paragraph|pre|s|sentence|speak|td|th|tr|ul)\b", re.I)
_BLANKS = r"[ \t]{0,40}"
_NAME = r"[A-Za-z][\w:.-]*"
_VALUES = r"""(?:[^<>"']|"[^"]*"|'[^']*')*"""


class Construct(NamedTuple):
    """Patterns of one kind of markup.

    `whole` matches it before what must follow, `part` all that it may begin with, to the end of what has come.
    """

    whole: re.Pattern[str]
    part: re.Pattern[str]


def _construct(whole: str, part: str = r"(?!)") -> Construct:
    return Construct(re.compile(whole), re.compile(part))


# At the start of a line. Runs have bounds, for what is not markup is tried again at each of its characters.
FENCE = _construct(r"(?:`{3,40}|~{3,40})(?=[^`~])", r"`{1,40}|~{1,40}")
RULE = _construct(
    rf"(?:(?:-{_BLANKS}){{3,80}}|(?:\*{_BLANKS}){{3,80}}|(?:_{_BLANKS}){{3,80}}|={{3,80}}{_BLANKS})(?=\r?\n)",
    rf"(?:(?:-{_BLANKS}){{1,80}}|(?:\*{_BLANKS}){{1,80}}|(?:_{_BLANKS}){{1,80}}|={{1,80}}{_BLANKS})\r?",
)
HEADING = _construct(r"#{1,6}[ \t]{1,40}(?=[^ \t])", r"#{1,6}[ \t]{0,40}")
BULLET = _construct(
    r"[-*+][ \t]{1,40}(?:\[[ xX]\][ \t]{1,40})?(?=[^ \t])",
    r"[-*+](?:[ \t]{1,40}(?:\[(?:[ xX](?:\][ \t]{0,40})?)?)?)?",
)
QUOTE = _construct(r">[ \t]?", r">")

# Anywhere.
ESCAPE = _construct(r"\\(?=[!-/:-@\[-`{-~])", r"\\")
CODE = _construct(r"`+")
EMPHASIS = _construct(
    r"(?:\*{1,40}(?=[^*])|_{1,40}(?=[^_])|~{1,40}(?=[^~]))",
    r"\*{1,40}|_{1,40}|~{1,40}",
)
FOOTNOTE = _construct(r"\[\^[^\[\]\s]{1,50}\]")
LINK = _construct(r"!?\[(?=[^\[\]\n]{0,300}\][(\[])", r"!?(?:\[[^\[\]\n]{0,300}\]?)?")
CELL = _construct(
    rf"\|{_BLANKS}:?-{{1,80}}:?{_BLANKS}(?=\||\r?\n)",
    rf"\|{_BLANKS}:?-{{0,80}}:?{_BLANKS}\r?",
)
COMMENT = _construct(r"<!--[\s\S]*?-->", r"<(?:!(?:-(?:-(?:[\s\S]*))?)?)?")
TAG = _construct(
    rf"<(?:/{_NAME}\s*|!{_NAME}[^<>]*|\??{_NAME}(?:\s*/?|\s+[\w:.-]+\s*={_VALUES}))>",
    rf"""<(?:/(?:{_NAME}\s*)?|!(?:{_NAME}[^<>]*)?"""
    rf"""|\??(?:{_NAME}(?:\s*/|\s+(?:[\w:.-]+\s*(?:={_VALUES}(?:"[^"]*|'[^']*)?)?)?)?)?)?""",
)
ADDRESS = _construct(
    r"<(?:[A-Za-z][A-Za-z0-9+.-]{1,31}:[^\s<>]*|[^\s<>@]+@[^\s<>]+)>",
    r"<(?:[A-Za-z][A-Za-z0-9+.-]{0,31}(?::[^\s<>]*)?|[^\s<>@]+(?:@[^\s<>]*)?)",
)
ENTITY = _construct(
    r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,9});",
    r"&(?:#(?:\d{0,7}|[xX][0-9a-fA-F]{0,6})|[A-Za-z][A-Za-z0-9]{0,9})?",
)
