"""Markup is left out of a growing text, whatever its pieces; what it encloses stays, each character with its place."""

import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.prompt.text_filter import HELD, MarkupFilter


def filtered(*pieces: str) -> tuple[str, list[int]]:
    """The text and the places that stay."""
    markup = MarkupFilter()
    parts = [*map(markup.push, pieces), markup.end()]
    return "".join(part.text for part in parts), [place for part in parts for place in part.places]


CASES = {
    "plain": ("Hello, world! It's 5 > 3 and 2 < 4; a_b, 2*3 = 6, 50% & more.", None),
    "other scripts": ("你好，世界！Привет — мир. नमस्ते। می\u200cخواهم क्\u200dष", None),
    "white space": ("  two  spaces\tand\n\na line \n", None),
    "bold": ("This is **very** important, *really*.", "This is very important, really."),
    "underlines": ("__Strong__ and _weak_ but snake_case_name", "Strong and weak but snake_case_name"),
    "nested": ("***all*** of **_it_**", "all of it"),
    "in a word": ("un*frigging*believable 这是**重点**内容", "unfriggingbelievable 这是重点内容"),
    "struck": ("~~old~~ new, ~5 minutes", "old new, ~5 minutes"),
    "signs": ("2 * 3 is 6, a _ b, 2*3", None),
    "code": ("Call `print()` or ``x`y``.", "Call print() or xy."),
    "fence": ("Look:\n```python\nprint(1)\n```\nDone.", "Look:\nprint(1)\nDone."),
    "headings": ("# Title\n\n## Part two\ntext #tag", "Title\n\nPart two\ntext #tag"),
    "bullets": ("- milk\n* eggs\n+ bread\n  - nested", "milk\neggs\nbread\n  nested"),
    "tasks": ("- [ ] milk\n- [x] eggs", "milk\neggs"),
    "numbers": ("1. milk\n2. eggs", None),
    "minus": ("-5 degrees\n- 5 degrees", "-5 degrees\n5 degrees"),
    "quote": ("> Who said\n> that?", "Who said\nthat?"),
    "rules": ("One\n---\nTwo\n* * *\nThree\n=====\nFour\n___", "One\n\nTwo\n\nThree\n\nFour\n"),
    "table": ("| Name | Age |\n|---|:-:|\n| Ann | 31 |\n", "Name Age \n\nAnn 31 \n"),
    "link": ("See [the docs](https://x.org/a_(b)) now", "See the docs now"),
    "link with title": ('[a *b* c](http://x "T")!', "a b c!"),
    "reference": ("See [the docs][1] now", "See the docs now"),
    "image": ("Here: ![a cat](cat.png).", "Here: a cat."),
    "brackets": ("An array[0] and [sic] and [x]y", None),
    "footnote": ("It is so.[^1] Yes.", "It is so. Yes."),
    "target without end": ("[a](http://x\nNext", "a\nNext"),
    "address": ("At <https://example.org/a> or <me@x.org>.", "At or ."),
    "escapes": (r"\*not bold\* and C:\dir and 1\. one", r"*not bold* and C:\dir and 1. one"),
    "ssml": (
        '<speak>Hello <break time="500ms"/> <prosody rate="slow">my friend</prosody>.</speak>',
        "Hello my friend.",
    ),
    "tags in words": ("<p>One.</p><p>Two</p>H<sub>2</sub>O<br>Three", "One. Two H2O Three"),
    "say as": ("On <say-as interpret-as=\"date\" format='md'>5/6</say-as>", "On 5/6"),
    "quoted end": ('<a title="x > y">z</a>', "z"),
    "comment": ("A<!-- secret > -->B", "AB"),
    "declaration": ('<?xml version="1.0"?><!DOCTYPE html>Hi', "Hi"),
    "not tags": ("if x<y and z>w, I <3 you, a < b", None),
    "entities": ("Tom &amp; Ann &lt;3 &#65;&#x42;&nbsp;c &unknown; AT&T", "Tom & Ann <3 AB c &unknown; AT&T"),
    "emoji": ("Great 👍🏽 job! 👨‍👩‍👧🇩🇪❤️", "Great job! "),
    "emoji between words": ("Hello👋world", "Hello world"),
    "emoji at the start": ("🙂 Hi", "Hi"),
    "keycaps and signs": ("1️⃣ first, © 2024™, ①, ❶, 5 → 6, №", "1 first, © 2024™, ①, ❶, 5 → 6, №"),
    "flags of parts": ("🏴\U000e0067\U000e0062\U000e007f!", "!"),
    "only markup": ("**\n---\n🙂<br/>", None),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1_000])
def test_what_stays(name: str, size: int) -> None:
    text, stays = CASES[name]
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    out, places = filtered(*pieces)
    if name == "only markup":
        assert not any(map(str.isalnum, out))
    else:
        assert out == (text if stays is None else stays)
    assert len(places) == len(out) and places == sorted(places)
    assert all(0 <= place < len(text) for place in places)
    if stays is None and name != "only markup":
        assert places == list(range(len(text)))


def test_characters_keep_their_places() -> None:
    text = "**Bold** [link](x) &amp; 🙂 end"
    out, places = filtered(text)
    assert out == "Bold link & end"
    for character, place in zip(out, places, strict=True):
        assert text[place] == character


ALPHABET = "ab1 \n\t\\`*_~#>-+=|[]()!<&;:/\"'x@.^🙂👍\ufe0f\u200d"
SCRAPS = st.sampled_from(
    [
        "**",
        "```",
        "[a](b)",
        "![",
        "<b>",
        "</b>",
        '<a b="c">',
        "<!--",
        "-->",
        "&amp;",
        "- ",
        "---",
        "| a |",
        "<x@y>",
        "[^1]",
    ]
)
texts = st.lists(st.one_of(st.text(ALPHABET, min_size=1, max_size=4), SCRAPS), max_size=14).map("".join)


@settings(max_examples=600, deadline=None)
@given(text=texts, cuts=st.lists(st.integers(0, 60), max_size=6), flush=st.integers(0, 60))
@example(text="- [x] a", cuts=[1, 2, 3, 4, 5], flush=0)
def test_the_pieces_do_not_matter(text: str, cuts: list[int], flush: int) -> None:
    places = sorted({min(cut, len(text)) for cut in cuts})
    pieces = [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]
    whole = filtered(text)
    assert filtered(*pieces) == filtered(*text) == whole
    assert whole[1] == sorted(whole[1]) and len(whole[0]) == len(whole[1])


OPENERS = (
    "[",
    '<a b="',
    "<!--",
    "<!D",
    "-",
    "- ",
    "# ",
    "|",
    "|:",
    "<a ",
    "<a@",
    "<a:",
    "[a](",
    "&",
    "*",
    "_",
    "~",
    "=",
)


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize("filler", ["x", " ", "-", "*", "a ", "=", '"', "[", "<", "\n- "])
def test_what_never_closes_is_held_for_a_bounded_time_and_cost(opener: str, filler: str) -> None:
    text = opener + filler * 1_500
    markup, held, began = MarkupFilter(), 0, time.process_time()
    for start in range(0, 1_500, 3):
        markup.push(text[start : start + 3])
        held = max(held, len(markup._held))
    markup.push(text[1_500:])
    assert held <= HELD + 3
    assert time.process_time() - began < 1.0
    assert filtered(text[:1_250]) == filtered(text[:550], *text[550:1_250])


def test_a_flush_begins_anew() -> None:
    markup = MarkupFilter()
    assert markup.push("[open").text == ""
    assert markup.end().text == "[open"
    assert markup.push("](x) - no").text == "](x) - no"
    assert markup.end().text == ""
    assert markup.push("- item *").text == "item "
    rest = markup.end()
    assert (rest.text, rest.places) == ("*", [21])
