"""The sentences that a voice is judged by, by kind; no training has seen them."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parents[1] / "corpus"
HELD_OUT = FOLDER / "held_out.txt"  # like the corpus
SETS = ("held_out", "agents", "others")
HELLO = "Hello world."  # learnt, for everybody says it first
BLANK = (" ", " \n ", "...", "?!")


class Sentence(NamedTuple):
    """`group`: the file it is from; `kind`: what is above it in that file."""

    group: str
    kind: str
    text: str


def sentences(groups: tuple[str, ...] = SETS) -> list[Sentence]:
    """All of these files."""
    return [sentence for group in groups for sentence in read(FOLDER / f"{group}.txt")]


def read(path: Path) -> Iterator[Sentence]:
    """A file of sentences, a line each; lines with # say something about them, and those with @ begin a kind."""
    kind = path.stem
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("@"):
            kind = line[1:]
        elif not line.startswith("#"):
            yield Sentence(path.stem, kind, line)
