"""Recorded speech for training: recordings end to end, with phonemes.

All are whole frames long.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from training.sizes import FRAME_SAMPLES, SAMPLE_RATE

PHONES_PER_FRAME = 4  # one label every 20 ms
PHONE_SAMPLES = FRAME_SAMPLES // PHONES_PER_FRAME
UNKNOWN = 255  # no label: for a whole recording, or for none of it


@dataclass(frozen=True, slots=True)
class Recorded:
    """Recordings end to end.

    wave (F * 1920,) int16 at 24 kHz; phones (F * 4,) uint8, the phoneme every 20 ms; starts (U + 1,) int64, in frames,
    of the recordings; of each recording its text and its speaker, an index into `speakers.SPEAKERS`.
    """

    wave: Tensor
    phones: Tensor
    starts: Tensor
    texts: list[str]
    speakers: list[int]

    @property
    def frames(self) -> int:
        """Of all recordings."""
        return int(self.starts[-1])

    @property
    def hours(self) -> float:
        """How much there is."""
        return self.frames * FRAME_SAMPLES / SAMPLE_RATE / 3600

    def crops(self, count: int, frames: int) -> tuple[Tensor, Tensor]:
        """Random stretches: audio (count, samples) in [-1, 1], phones.

        Samples: frames * 1920; phones (count, frames, 4).
        """
        first = torch.randint(self.frames - frames, (count, 1), device=self.wave.device)
        samples = first * FRAME_SAMPLES + torch.arange(frames * FRAME_SAMPLES, device=self.wave.device)
        labels = first * PHONES_PER_FRAME + torch.arange(frames * PHONES_PER_FRAME, device=self.wave.device)
        return self.wave[samples].float() / 32768, self.phones[labels].long().unflatten(1, (frames, -1))

    def save(self, path: Path) -> None:
        """Write one file that `load` reads."""
        torch.save({name: getattr(self, name) for name in self.__slots__}, path)

    @classmethod
    def load(cls, path: Path, device: torch.device) -> "Recorded":
        """Read what `save` wrote."""
        data = torch.load(path, map_location="cpu", weights_only=True)
        wave, phones, starts = (data[name].to(device) for name in ("wave", "phones", "starts"))
        return cls(wave, phones, starts, data["texts"], data["speakers"])
