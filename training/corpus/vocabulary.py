"""Common words of English: spelling, parts of speech."""

import re
from functools import cache
from pathlib import Path

from wordfreq import top_n_list

from training.corpus.clean import is_ordinary

COMMON = 20_000  # count of the most frequent forms, less those that are in no dictionary


@cache
def common_words(root: Path) -> dict[str, str]:
    """Commonest words, most frequent first.

    In lower case, and as they are written, names with their capital.
    `root`: where the packages were unpacked.
    """
    known = (root / "usr/share/dict/american-english").read_text("utf-8").splitlines()
    spelling = {word.lower(): word for word in sorted(known) if re.fullmatch("[A-Za-z]{2,}", word)}
    return {word: spelling[word] for word in top_n_list("en", COMMON) if word in spelling and is_ordinary(word)}


@cache
def part_of_speech(root: Path, part: str) -> list[str]:
    """Common words that WordNet lists under `part`; no names.

    One of "noun", "verb", "adj" or "adv".
    """
    lines = (root / "usr/share/wordnet" / f"index.{part}").read_text("utf-8").splitlines()
    known = {line.split()[0] for line in lines if line[0] != " "}
    return [word for word in common_words(root).values() if word in known and len(word) > 2]
