"""Sentences fit for training: plain letters, ordinary words, an end.

One to thirty words.
"""

import re
from collections.abc import Iterator

from wordfreq import zipf_frequency

MOST_WORDS = 30
_RAREST = 1.6  # zipf frequency: one in 25 million words
_LONGEST_WORD = 17  # letters
_UNFIT = set("cunt cunts fuck fucked fucker fucking milf nigger niggers porn rape raped rapist shit slut whore".split())
_PLAIN = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "—": ", ", "–": ", ", "\t": " ", "\n": " "})
_ALLOWED = re.compile(r"[A-Za-z0-9 .,;:!?'\"$%-]+")
_END = re.compile(r"(?<=[.!?])\"?\s+(?=[\"A-Z0-9])")
_ABBREVIATED = re.compile(r"\b(?:[A-Z]|Mr|Mrs|Ms|Dr|St|Jr|Sr|Prof|Gen|Capt|Lt|No|vs|etc|e\.g|i\.e)\.$")
_ODD = re.compile(
    r"--|\.\.|[.,;:!?]{2}|\d{6}|\b[A-Za-z]\d|\d[A-Za-z]{3}|\s'|'\s|^'|'$|\d\.\d+\.|[A-Z]{5}|[,;:][^\s\d]|\s[,.;:!?]"
)


def plain(text: str) -> str:
    """`text` with typewriter's quotes, typewriter's dashes, single spaces."""
    text = re.sub(r"\s*--+\s*", ", ", text.translate(_PLAIN))
    return re.sub(r"\s+", " ", re.sub(r"\s+,", ",", text)).strip()


def sentences(paragraph: str) -> Iterator[str]:
    """The clean sentences of a paragraph, in order."""
    rest = ""
    for piece in _END.split(plain(paragraph)):
        rest = f"{rest} {piece}".strip()
        if not _ABBREVIATED.search(rest):
            if is_clean(rest := balanced(rest)):
                yield rest
            rest = ""


def balanced(sentence: str) -> str:
    """`sentence` without quotation marks that are unpaired or enclose it."""
    bare = sentence.replace('"', "")
    return bare if sentence.count('"') % 2 or sentence == f'"{bare}"' else sentence


def is_clean(sentence: str) -> bool:
    """Whether people would write `sentence`.

    It must also be readable by the teacher.
    """
    return (
        bool(_ALLOWED.fullmatch(sentence))
        and sentence[0] in '"$ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'
        and sentence.rstrip('"')[-1] in ".!?"
        and not _ODD.search(sentence)
        and 1 <= len(sentence.split()) <= MOST_WORDS
        and all(map(is_ordinary, words(sentence)))
    )


def words(sentence: str) -> list[str]:
    """Lower-case words of `sentence`; numbers are not words."""
    return re.findall(r"[a-z]+(?:'[a-z]+)?", sentence.lower())


def is_ordinary(word: str) -> bool:
    """Whether lower-case `word` is familiar, short, inoffensive."""
    return word not in _UNFIT and len(word) <= _LONGEST_WORD and zipf_frequency(word, "en") >= _RAREST
