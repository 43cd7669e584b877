"""The speakers: a neural teacher, its voice played faster after it spoke slower, and a synthesiser of another kind."""

from dataclasses import dataclass
from fractions import Fraction

from tools.train_voice import flite, vits

RATE = 24_000  # of what is learned


@dataclass(frozen=True)
class Speaker:
    """Who speaks. `rate`: of the source, in Hz; `pitch`: how much higher the result is, at one tempo."""

    name: str
    rate: int
    pitch: Fraction = Fraction(1)

    @property
    def ratio(self) -> Fraction:
        """Samples of the result for each sample of the source."""
        return Fraction(RATE, self.rate) / self.pitch

    @property
    def neural(self) -> bool:
        """Whether the teacher speaks, and not flite."""
        return self.rate == vits.SAMPLE_RATE


SPEAKERS = (
    Speaker("joe", vits.SAMPLE_RATE),
    Speaker("kim", vits.SAMPLE_RATE, Fraction(5, 4)),
    Speaker("slt", flite.SAMPLE_RATE),
)
