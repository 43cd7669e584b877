"""Likeness of clones to their recordings, word errors beside it.

An independent encoder judges the speaker, a recogniser hears the words.
"""

import asyncio
import os
import wave
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.parts.server import serving
from qwentts_client.client import AsyncClient
from training.evaluate.heard import Count, recognised, total
from training.evaluate.recogniser import Recogniser
from training.evaluate.sentences import REFERENCE, Sentence
from training.evaluate.speaking import Spoken, Who, speak_all

MARGIN = 0.02  # by which a clone must be nearer to its own recording than to any other
WAYS = {"by vector": "", "in context": REFERENCE}  # with a transcript, the recording's codes come first too

Vectors = Mapping[str, NDArray[np.float32]]  # by the name of the speaker
Clones = dict[str, list[Spoken]]


class Likeness(NamedTuple):
    """Mean similarity of a speaker's clones to recordings.

    To the speaker's own, and to the nearest of another, with that one's name.
    """

    own: float
    other: float
    nearest: str

    @property
    def cloned(self) -> bool:
        """Whether the own recording is nearer by `MARGIN`."""
        return self.own - self.other >= MARGIN


def judged(model: str, folder: Path, sentences: Sequence[Sentence]) -> Iterator[str]:
    """Lines about a server's clones of every recording in `folder`.

    Raises ImportError without training/evaluate/clones.txt.
    """
    from training.evaluate.judge import Judge

    judge, recogniser = Judge(), Recogniser()
    known = {path.stem: judge.vector(*_samples(path)) for path in _paths(folder)}
    with serving(["--model", model], {min(os.sched_getaffinity(0))}) as server:
        said = asyncio.run(speak_clones(server.address, [sentence.text for sentence in sentences], folder))
    for way, clones in said.items():
        vectors = {name: np.stack([judge.vector(one.samples) for one in own]) for name, own in clones.items()}
        heard = {name: recognised(recogniser, zip(sentences, own, strict=True)) for name, own in clones.items()}
        yield f"\nclones {way}, {len(sentences)} sentences of each speaker"
        yield from report(likenesses(vectors, known), {name: total(own) for name, own in heard.items()})


async def speak_clones(address: str, texts: Sequence[str], folder: Path) -> dict[str, Clones]:
    """Texts by clones of every recording in `folder`.

    By way, then by speaker: the name of the recording's file.
    """
    async with AsyncClient(address) as client:
        return {
            way: {
                path.stem: await speak_all(client, texts, Who("", path.read_bytes(), said), False)
                for path in _paths(folder)
            }
            for way, said in WAYS.items()
        }


def likenesses(clones: Vectors, known: Vectors) -> dict[str, Likeness]:
    """Likeness by speaker.

    `clones`: vectors (speeches, 256) of each; `known`: the vector (256,) of each recording.
    """
    found = dict[str, Likeness]()
    for name, vectors in clones.items():
        alike = {other: float((vectors @ vector).mean()) for other, vector in known.items()}
        own, nearest = alike.pop(name), max(alike, key=alike.__getitem__)
        found[name] = Likeness(own, alike[nearest], nearest)
    return found


def report(likeness: Mapping[str, Likeness], counts: Mapping[str, Count]) -> Iterator[str]:
    """A line for each speaker, then totals.

    How many are cloned, with all word errors.
    """
    yield f"{'speaker':12}{'own':>6}{'other':>7}  {'nearest other':14}{'word errors':>12}"
    for name, own in likeness.items():
        yield f"{name:12}{own.own:6.2f}{own.other:7.2f}  {own.nearest:14}{counts[name].rate:12.1%}"
    everybody = Count(sum(count.errors for count in counts.values()), sum(count.words for count in counts.values()))
    nearer = sum(own.cloned for own in likeness.values())
    yield f"own nearer by {MARGIN}     {nearer} of {len(likeness)} speakers"
    yield f"word error rate        {everybody.rate:.1%}"


def _paths(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.wav"))


def _samples(path: Path) -> tuple[NDArray[np.int16], int]:
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16), file.getframerate()
