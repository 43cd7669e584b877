"""What an encoder gives: bytes, and the exact count of samples that they stand for."""

from dataclasses import dataclass
from typing import Protocol

from qwentts_grpc.audio.resample import Pcm


@dataclass(frozen=True, slots=True)
class Encoded:
    """`data` follows what came before it; `samples` at the output rate, so durations add up to the turn's length."""

    data: bytes
    samples: int

    def __add__(self, later: "Encoded") -> "Encoded":
        return Encoded(self.data + later.data, self.samples + later.samples)


class Body(Protocol):
    """An encoding at its output rate; `head` is what goes before the first bytes."""

    head: bytes

    def encode(self, pcm: Pcm) -> Encoded:
        """What this input completes."""

    def finish(self) -> Encoded:
        """What was held back."""
