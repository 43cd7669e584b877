"""Plan of a training set: lines, speakers, speeds, batches."""

import random
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import accumulate, groupby
from typing import NamedTuple

from training.corpus.phonemes import Corpus
from training.teacher.speakers import ALL, OTHERS, SPEAKERS
from training.teacher.teacher import STEP, Utterance

SEED = 4
_SLOWNESS = (0.9, 1.15)
_SECONDS_A_PHONEME = 0.052  # on average, with the silence around: to know how much to say


class Line(NamedTuple):
    """One recording: text, its spoken form, speaker, utterance.

    The speaker is an index into ALL.
    """

    text: str
    spoken: str
    speaker: int
    utterance: Utterance


def plan(corpus: Corpus, hours: float, shares: Mapping[str, float], seed: int = SEED) -> list[Line]:
    """Lines for about `hours` hours, by speakers at random.

    The corpus comes in an order of `seed`, again and again. `shares`: names of speakers, and "others" for all others
    together, with weights.
    """
    rng, lines, seconds, order = random.Random(seed), list[Line](), 0.0, list[int]()
    weights = _weights(shares)
    while seconds < hours * 3600:
        order = order or rng.sample(range(len(corpus.texts)), len(corpus.texts))
        place = order.pop()
        [speaker] = rng.choices(range(len(SPEAKERS)), cum_weights=weights)
        slowness = rng.uniform(*_SLOWNESS)
        said = Utterance(corpus.phonemes[place], slowness * SPEAKERS[speaker].pitch, seed=rng.getrandbits(40))
        lines.append(Line(corpus.texts[place], corpus.spoken[place], speaker, said))
        seconds += len(corpus.phonemes[place]) * slowness * _SECONDS_A_PHONEME
    return lines


def batches(lines: Sequence[Line], size: int) -> Iterator[tuple[Fraction, list[Line]]]:
    """Lines of one rate, of like length, with the ratio.

    At most `size` phonemes at once. Few kinds of batches: what does not fill one waits for the next longer lines.
    """
    for (_, ratio), spoken in groupby(sorted(lines, key=_kind), lambda line: _kind(line)[:2]):
        rest = list[Line]()
        for (_, _, steps), group in groupby(spoken, _kind):
            rest, count = [*rest, *group], max(1, 2 * size // (steps * STEP))
            while len(rest) >= count:
                yield ratio, rest[:count]
                rest = rest[count:]
        if rest:
            yield ratio, rest


def _weights(shares: Mapping[str, float]) -> list[float]:
    """Of the speakers, added up from the first to each."""
    others = shares.get("others", 0) / len(OTHERS)
    own = [others if speaker in OTHERS else shares.get(speaker.name, 0) for speaker in SPEAKERS]
    return list(accumulate(own))


def _kind(line: Line) -> tuple[str, Fraction, int]:
    """Synthesiser, rate, length in steps of the teacher.

    The teacher puts blanks between phonemes.
    """
    speaker = ALL[line.speaker]
    return speaker.family, speaker.ratio, -(-(2 * len(line.utterance.phonemes) + 3) // STEP)
