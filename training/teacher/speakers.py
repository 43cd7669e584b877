"""Speakers: two built-in, others disguised, some for judging clones.

Cloning is trained on the disguised ones. A disguise changes pitch, by sampling at another rate, and the resonances of
the vocal tract, each by itself. Clones are judged by `UNSEEN`: half are voices of no training, as flite's awb.
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
    """Voice of a synthesiser, as it is or disguised.

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
    """Voice to disguise.

    Its pitch in Hz, how often, within which factors.
    """

    family: str
    name: str
    hertz: float
    count: int
    lowest: float
    highest: float


_VARIANTS = {  # of eSpeak NG, with their pitch in Hz
    "Andy": 96, "Annie": 238, "Hugo": 108, "Lee": 97, "Michael": 109, "Reed": 114, "anika": 266, "f2": 195, "f3": 208,
    "linda": 233, "m1": 93, "m2": 100, "m3": 104, "m7": 105, "Denis": 98, "Mario": 111, "Alicia": 256, "steph": 184,
    "ed": 125, "rob": 122, "michel": 104,
}  # fmt: skip
SOURCES = (
    Source(JOE, "joe", 112, 512, 0.82, 1.75),
    Source(FLITE, "cmu_us_slt", 172, 128, 0.6, 1.3),
    Source(FLITE, "cmu_us_rms", 102, 112, 0.85, 1.75),
    Source(FLITE, "cmu_us_kal16", 88, 16, 0.95, 1.8),
    *(Source(ESPEAK, variant, hertz, 4, 0.85, 1.2) for variant, hertz in _VARIANTS.items()),
)
HERTZ = {source.name: source.hertz for source in SOURCES}


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


def _made(name: str, family: str, source: str, pitch: float, resonances: float, tilt: float) -> Speaker:
    """Speaker for judging clones.

    `pitch`, `resonances`: factors on the source's; `tilt`: dB from the lowest tone to the highest.
    """
    usual = SAMPLE_RATE / RATES[family]
    ratio = Fraction(round(usual / pitch * STEPS), STEPS)
    curve = tuple(round(tilt * (point / (POINTS - 1) - 0.5), 2) for point in range(POINTS))
    return Speaker(name, family, source, ratio, Disguise(round(resonances * float(ratio) / usual, 3), curve))


def _others() -> tuple[Speaker, ...]:
    chance = random.Random(SEED)
    return tuple(_disguised(source, number, chance) for source in SOURCES for number in range(source.count))


OTHERS = _others()
SPEAKERS = (_plain(VOICES[0], JOE, "joe"), _plain(VOICES[1], FLITE, "cmu_us_slt"), *OTHERS)
UNSEEN = (
    _plain("awb", FLITE, "cmu_us_awb"),
    _made("awb-low", FLITE, "cmu_us_awb", 0.78, 0.86, -6),
    _made("awb-high", FLITE, "cmu_us_awb", 1.5, 1.2, 4),
    _plain("belinda", ESPEAK, "belinda"),
    _plain("m5", ESPEAK, "m5"),
    _made("joe-deep", JOE, "joe", 0.84, 0.85, 3),
    _made("joe-child", JOE, "joe", 1.7, 1.3, -3),
    _made("rms-low", FLITE, "cmu_us_rms", 0.88, 1.08, -8),
    _made("slt-high", FLITE, "cmu_us_slt", 1.25, 1.12, 6),
    _made("slt-man", FLITE, "cmu_us_slt", 0.66, 0.84, -4),
)
ALL = (*SPEAKERS, *UNSEEN)
