"""Teacher: phonemes to 22.05 kHz samples, many utterances at once.

Each has the noise of its own seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from training.teacher import vits

_START, _END = 1, 2  # phoneme numbers; 0 is the blank that stands between all
_CHANNELS = 192
STEP = 32  # phonemes with blanks, and frames, come in multiples of it: on a GPU each new size costs time
NOISE, DURATION_NOISE = 0.667, 0.8  # as the voice's own settings say


@dataclass(frozen=True)
class Utterance:
    """Phonemes, numbered without blanks; `slowness`: factor on all durations."""

    phonemes: NDArray[np.uint8]
    slowness: float
    seed: int


class Spoken(NamedTuple):
    """Speech of a batch.

    waves (B, n) at 22.05 kHz; lengths (B,) in samples; phones (B, n / 256): the phoneme of each frame.
    """

    waves: Tensor
    lengths: Tensor
    phones: Tensor


class Teacher:
    """Piper voice on `device`; 16-bit vocoder on a GPU."""

    def __init__(self, weights: vits.Weights, device: torch.device) -> None:
        self.device = device
        self._weights = {name: weight.to(device, torch.float32) for name, weight in weights.items()}
        self._half = torch.float16 if device.type == "cuda" else torch.float32
        self._vocoder = {
            name: weight.to(self._half) for name, weight in self._weights.items() if name.startswith("dec.")
        }

    @torch.inference_mode()
    def speak(self, utterances: Sequence[Utterance], noise: float = 1.0) -> Spoken:
        """Speech of all utterances at once.

        `noise`: factor on the usual amounts.
        """
        ids = _even(pad_sequence([with_blanks(utterance.phonemes) for utterance in utterances], batch_first=True))
        sizes = [2 * len(utterance.phonemes) + 3 for utterance in utterances]
        slowness = torch.tensor([utterance.slowness for utterance in utterances], device=self.device)
        random = [torch.Generator(self.device).manual_seed(utterance.seed) for utterance in utterances]
        phonemes = vits.encode(self._weights, ids.to(self.device), torch.tensor(sizes, device=self.device))
        duration_noise = _even(_noise(random, sizes, 2)) * (noise * DURATION_NOISE)
        frames = vits.durations(self._weights, phonemes, duration_noise, slowness)
        counts = frames.sum(1)
        prior_noise = _even(_noise(random, counts.tolist(), _CHANNELS)) * (noise * NOISE)
        owners = vits.owners(frames, prior_noise.shape[2])
        z, mask = vits.prior(phonemes, owners, counts, prior_noise)
        z = vits.unflow(self._weights, z, mask)
        waves = vits.waveform(self._vocoder, z.to(self._half), mask.to(self._half)).float()
        # Blanks lie between phonemes, so that the phoneme before is at the even place.
        return Spoken(waves, counts * vits.HOP, ids.to(self.device).gather(1, owners // 2 * 2))


def load_teacher(path: Path, device: torch.device) -> Teacher:
    """The teacher whose weights `onnx_weights` wrote."""
    return Teacher(torch.load(path, weights_only=True), device)


def with_blanks(phonemes: NDArray[np.uint8]) -> Tensor:
    """Phonemes as in the voice's training.

    Start, end, and blanks between all.
    """
    ids = torch.zeros(2 * len(phonemes) + 3, dtype=torch.long)
    ids[0], ids[2:-1:2], ids[-1] = _START, torch.from_numpy(phonemes.astype(np.int64)), _END
    return ids


def _even(padded: Tensor) -> Tensor:
    """`padded` with zeros, up to a multiple of STEP.

    In the last dimension.
    """
    return F.pad(padded, (0, -padded.shape[-1] % STEP))


def _noise(random: Sequence[torch.Generator], counts: Sequence[int], channels: int) -> Tensor:
    """Noise (B, channels, longest), each row by its own generator.

    A row's numbers do not depend on the others' counts.
    """
    rows = [
        torch.randn(count, channels, generator=generator, device=generator.device)
        for generator, count in zip(random, counts, strict=True)
    ]
    return pad_sequence(rows, batch_first=True).transpose(1, 2)
