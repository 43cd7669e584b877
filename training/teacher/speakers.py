"""Speakers of the training set: two built-in, others disguised.

Cloning is trained on the disguised ones. A disguise changes pitch, by sampling at another rate, and the resonances of
the vocal tract, each by itself. The voices that a clone is to be judged by, as flite's awb, are not among them.
"""

import random
from dataclasses import dataclass
from fractions import Fraction

from training.sizes import SAMPLE_RATE, VOICES
from training.teacher.disguise import PLAIN, POINTS, Disguise

JOE, FLITE, ESPEAK = "joe", "flite", "espeak"
RATES = {JOE: 22_050, FLITE: 16_000, ESPEAK: 22_050}
SEED = 11
STEPS = 16  # sample rates are changed by sixteenths, so that speakers of one source share few of them


@dataclass(frozen=True)
class Speaker:
    """Speaker of the training set.

    `family`: its synthesiser; `source`: its voice; `ratio`: samples of the result for each of the source, 1.0884 for an
    undisguised `joe`.
    """

    name: str
    family: str
    source: str
    ratio: Fraction
    disguise: Disguise = PLAIN

    @property
    def pitch(self) -> float:
        """Factor of pitch, equally of speed, over the source."""
        return SAMPLE_RATE / RATES[self.family] / float(self.ratio)


@dataclass(frozen=True)
class Source:
    """Voice to disguise: how often, within which relative pitches."""

    family: str
    name: str
    count: int
    lowest: float
    highest: float


_VARIANTS = "Andy Annie Hugo Lee Michael Reed anika f2 linda m1 m3 m7".split()
SOURCES = (
    Source(JOE, "joe", 128, 0.82, 1.75),
    Source(FLITE, "cmu_us_slt", 64, 0.6, 1.3),
    Source(FLITE, "cmu_us_rms", 56, 0.85, 1.75),
    Source(FLITE, "cmu_us_kal16", 12, 0.95, 1.8),
    *(Source(ESPEAK, variant, 1, 0.95, 1.05) for variant in _VARIANTS),
)


def _plain(name: str, family: str, source: str) -> Speaker:
    return Speaker(name, family, source, Fraction(SAMPLE_RATE, RATES[family]))


def _disguised(source: Source, number: int, chance: random.Random) -> Speaker:
    """Disguised speakers of one source.

    Resonances follow pitch half way, as they do from person to person, and differ a little besides.
    """
    usual = SAMPLE_RATE / RATES[source.family]
    pitch = source.lowest * (source.highest / source.lowest) ** chance.random()
    ratio = Fraction(round(usual / pitch * STEPS), STEPS)
    pitch = usual / float(ratio)
    resonances = pitch**0.4 * 2 ** chance.gauss(0, 0.1)
    tilt = chance.gauss(0, 2.0)
    curve = tuple(round(tilt * (point - POINTS / 2) + chance.gauss(0, 1.5), 2) for point in range(POINTS))
    disguise = Disguise(round(min(1.35, max(0.8, resonances)) / pitch, 3), curve)
    return Speaker(f"{source.name}-{number}", source.family, source.name, ratio, disguise)


def _others() -> tuple[Speaker, ...]:
    chance = random.Random(SEED)
    return tuple(_disguised(source, number, chance) for source in SOURCES for number in range(source.count))


OTHERS = _others()
SPEAKERS = (_plain(VOICES[0], JOE, "joe"), _plain(VOICES[1], FLITE, "cmu_us_slt"), *OTHERS)
