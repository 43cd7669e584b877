"""Who says what, and how fast: the lines of a training set, in batches that fit together."""

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from tools.train_voice.phonemes import Corpus
from tools.train_voice.speakers import SPEAKERS, Speaker
from tools.train_voice.teacher import STEP, Utterance

SEED = 4
_SLOWNESS = (0.9, 1.15)
_SECONDS_A_PHONEME = 0.052  # on average, with the silence around: to know how much to say


class Line(NamedTuple):
    """One recording of the plan: what is written, what is read aloud, and by whom (a place in SPEAKERS)."""

    text: str
    spoken: str
    speaker: int
    utterance: Utterance


def plan(corpus: Corpus, hours: float, shares: Mapping[str, int]) -> list[Line]:
    """About so many hours: the corpus from its start, then from the start again, by other speakers.

    `shares`: speakers' names, and how many lines of each round are theirs.
    """
    rng, lines, seconds = random.Random(SEED), list[Line](), 0.0
    turns = [place for place, speaker in enumerate(SPEAKERS) for _ in range(shares.get(speaker.name, 0))]
    while seconds < hours * 3600:
        again, place = divmod(len(lines), len(corpus.texts))
        speaker, slowness, phonemes = (
            turns[(again + place) % len(turns)],
            rng.uniform(*_SLOWNESS),
            corpus.phonemes[place],
        )
        heard = Utterance(phonemes, slowness, seed=len(lines))
        lines.append(Line(corpus.texts[place], corpus.spoken[place], speaker, heard))
        seconds += len(phonemes) * slowness * _SECONDS_A_PHONEME
    return lines


def batches(lines: Sequence[Line], size: int) -> Iterator[tuple[Speaker, list[Line]]]:
    """Lines of one speaker and of like length together, at most `size` phonemes at once.

    Few kinds of batches: what does not fill one waits for the next longer lines.
    """
    for speaker, spoken in groupby(sorted(lines, key=_kind), lambda line: SPEAKERS[line.speaker]):
        rest = list[Line]()
        for (_, steps), group in groupby(spoken, _kind):
            rest, count = [*rest, *group], max(1, 2 * size // (steps * STEP))
            while len(rest) >= count:
                yield speaker, rest[:count]
                rest = rest[count:]
        if rest:
            yield speaker, rest


def _kind(line: Line) -> tuple[int, int]:
    """The speaker, and the length in steps of the teacher, who puts blanks between phonemes and around all."""
    return line.speaker, -(-(2 * len(line.utterance.phonemes) + 3) // STEP)
