"""Recorded speech as training sees it: all recordings end to end, in whole frames, with phonemes beside them."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from tools.train_voice.sizes import FRAME_SAMPLES

PHONES_PER_FRAME = 4  # one label every 20 ms


@dataclass(frozen=True, slots=True)
class Corpus:
    """wave (F * 1920,) int16 at 24 kHz; phones (F * 4,) uint8, what is being said every 20 ms; starts (U + 1,) int64,
    in frames, of the recordings; of each recording its text and its speaker, an index into `sizes.VOICES`."""

    wave: Tensor
    phones: Tensor
    starts: Tensor
    texts: list[str]
    speakers: list[int]

    @property
    def frames(self) -> int:
        """Of all recordings."""
        return int(self.starts[-1])

    def crops(self, count: int, frames: int) -> tuple[Tensor, Tensor]:
        """Random stretches: audio (count, frames * 1920) in [-1, 1], phones (count, frames, 4)."""
        first = torch.randint(self.frames - frames, (count, 1), device=self.wave.device)
        samples = first * FRAME_SAMPLES + torch.arange(frames * FRAME_SAMPLES, device=self.wave.device)
        labels = first * PHONES_PER_FRAME + torch.arange(frames * PHONES_PER_FRAME, device=self.wave.device)
        return self.wave[samples].float() / 32768, self.phones[labels].long().unflatten(1, (frames, -1))

    def recording(self, number: int) -> Tensor:
        """Audio (T,) in [-1, 1]."""
        start, stop = (int(self.starts[number + i]) * FRAME_SAMPLES for i in (0, 1))
        return self.wave[start:stop].float() / 32768

    def save(self, path: Path) -> None:
        """Write one file that `load` reads."""
        torch.save({name: getattr(self, name) for name in self.__slots__}, path)

    @classmethod
    def load(cls, path: Path, device: torch.device) -> "Corpus":
        """Read what `save` wrote."""
        data = torch.load(path, map_location="cpu", weights_only=True)
        wave, phones, starts = (data[name].to(device) for name in ("wave", "phones", "starts"))
        return cls(wave, phones, starts, data["texts"], data["speakers"])
