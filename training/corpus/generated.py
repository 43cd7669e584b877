"""Sentences made from templates.

What agents say, everyday talk, short answers, numbers, dates, times, money, names.
"""

import random
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from training.corpus.vocabulary import part_of_speech

TEMPLATES = sorted(Path(__file__).parent.glob("templates*.txt"))
_CHOICE = re.compile(r"\{([^{}]*)\}")
_SLOT = re.compile(r"\[([^\[\]]+)\]")
_WORDS = {"noun": "noun", "plural": "noun", "verb": "verb", "adj": "adj", "adv": "adv"}


def generated(root: Path, section: str, count: int, seed: int) -> Iterator[str]:
    """`count` sentences from a section of the templates, in turn.

    Repeats are possible. `root`: where the packages were unpacked, with WordNet's parts of speech.
    """
    rng, templates = random.Random(f"{seed} {section}"), _sections()[section]
    for number in range(count):
        sentence = _agreed(_filled(templates[number % len(templates)], root, rng))
        yield sentence[0].upper() + sentence[1:]


def _filled(template: str, root: Path, rng: random.Random) -> str:
    """`template` with its choices made, then its slots filled.

    Slot values may have choices and slots themselves.
    """
    while _CHOICE.search(template) or _SLOT.search(template):
        template = _CHOICE.sub(lambda choice: rng.choice(choice[1].split("|")), template)
        template = _SLOT.sub(lambda slot: _value(slot[1], root, rng), template)
    return template


def _value(slot: str, root: Path, rng: random.Random) -> str:
    first, _, last = slot.partition("-")
    if last:
        return str(rng.randint(int(first), int(last)))
    name = slot.lower()
    value = rng.choice(part_of_speech(root, _WORDS[name]) if name in _WORDS else _sections()[name])
    value = _plural(value) if name == "plural" else value
    return value if slot == name else value[0].upper() + value[1:]


def _agreed(sentence: str) -> str:
    """`sentence` with the right ordinal endings, the right articles."""
    sentence = re.sub(r"\b(\d+)th\b", lambda found: _ordinal(int(found[1])), sentence)
    return re.sub(r"\b([Aa]) (?=[aeiou](?!u\b))", r"\1n ", sentence)


def _ordinal(number: int) -> str:
    ending = "th" if number in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _plural(noun: str) -> str:
    if re.search(r"(s|x|z|ch|sh)$", noun):
        return f"{noun}es"
    return f"{noun[:-1]}ies" if re.search(r"[^aeiou]y$", noun) else f"{noun}s"


@cache
def _sections() -> dict[str, list[str]]:
    sections: dict[str, list[str]] = {}
    for line in (line for path in TEMPLATES for line in path.read_text("utf-8").splitlines()):
        if line.startswith("@"):
            lines = sections.setdefault(line[1:], [])
        elif not line.startswith("#"):
            lines.append(line)
    return sections
