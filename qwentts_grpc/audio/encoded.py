"""Output of an encoder: bytes with their exact sample count."""

from dataclasses import dataclass
from typing import Protocol

from qwentts_grpc.audio.resample import Pcm


@dataclass(frozen=True, slots=True)
class Encoded:
    """`data` follows earlier bytes; `samples` at the output rate.

    The durations add up to the turn's length.
    """

    data: bytes
    samples: int

    def __add__(self, later: "Encoded") -> "Encoded":
        return Encoded(self.data + later.data, self.samples + later.samples)


class Body(Protocol):
    """An encoding at its output rate; `head` comes first."""

    head: bytes

    def encode(self, pcm: Pcm) -> Encoded:
        """What this input completes."""

    def finish(self) -> Encoded:
        """What was held back."""
