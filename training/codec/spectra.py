"""Log-mel distances of two recordings, over short to long windows."""

import torch
from torch import Tensor

from engine.model.speaker.mel import slaney_filters
from training.sizes import SAMPLE_RATE

WINDOWS = ((2048, 160), (1024, 96), (512, 64), (256, 32), (128, 16))  # samples, mel bands


class MelDistance:
    """Mean absolute difference of mels, log10 plus linear, over windows."""

    def __init__(self, device: torch.device) -> None:
        self._filters = [slaney_filters(SAMPLE_RATE, bands, size).to(device) for size, bands in WINDOWS]
        self._filters = [filters / filters.sum(1, keepdim=True).clamp(min=1e-8) for filters in self._filters]

    def __call__(self, one: Tensor, other: Tensor) -> Tensor:
        """Audio (B, T) twice -> a scalar."""
        parts = []
        for filters in self._filters:
            first, second = mels(one, filters), mels(other, filters)
            parts.append((first.log10() - second.log10()).abs().mean() + (first - second).abs().mean())
        return torch.stack(parts).mean()


def mels(wave: Tensor, filters: Tensor) -> Tensor:
    """Mels, (B, T) -> (B, bands, T / hop).

    Never below 1e-5; the window is the filters' own, the hop a quarter of it.
    """
    return (filters @ spectrum(wave, 2 * (filters.shape[1] - 1)).abs()).clamp(min=1e-5)


def spectrum(wave: Tensor, window: int) -> Tensor:
    """Complex spectrum, (B, T) -> (B, bins, frames).

    window / 2 + 1 bins; a frame every window / 4 samples; scaled so that a full-scale tone has about 1.
    """
    hann = torch.hann_window(window, device=wave.device)
    return torch.stft(wave.float(), window, window // 4, window=hann, return_complex=True) * (2 / hann.sum())
