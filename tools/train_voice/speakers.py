"""The speakers to learn from: a neural teacher, and a synthesiser of another kind."""

from dataclasses import dataclass
from fractions import Fraction

from tools.train_voice import flite, vits
from tools.train_voice.sizes import SAMPLE_RATE, VOICES


@dataclass(frozen=True)
class Speaker:
    """Who speaks. `rate`: of the source, in Hz."""

    name: str
    rate: int

    @property
    def ratio(self) -> Fraction:
        """Samples of the result for each sample of the source."""
        return Fraction(SAMPLE_RATE, self.rate)

    @property
    def neural(self) -> bool:
        """Whether the teacher speaks, and not flite."""
        return self.rate == vits.SAMPLE_RATE


SPEAKERS = tuple(map(Speaker, VOICES, (vits.SAMPLE_RATE, flite.SAMPLE_RATE)))
