"""Sentences to judge a voice by, outside the training set.

They are sorted by kind.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parents[1] / "corpus"
HELD_OUT = FOLDER / "held_out.txt"  # like the corpus
SETS = ("held_out", "agents", "others")
HELLO = "Hello world."  # in the training set: everybody says it first
REFERENCE = (  # said in the recordings that clones are made of
    "The old bridge across the river was closed in May, so most people now take the road along the hills."
)
BLANK = (" ", " \n ", "...", "?!")


class Sentence(NamedTuple):
    """A sentence; `group`: its file, `kind`: its heading there."""

    group: str
    kind: str
    text: str


def sentences(groups: tuple[str, ...] = SETS) -> list[Sentence]:
    """All of these files."""
    return [sentence for group in groups for sentence in read(FOLDER / f"{group}.txt")]


def read(path: Path) -> Iterator[Sentence]:
    """Sentences of a file, one a line.

    Lines with # are comments, those with @ begin a kind.
    """
    kind = path.stem
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("@"):
            kind = line[1:]
        elif not line.startswith("#"):
            yield Sentence(path.stem, kind, line)
