"""Disguise of a recording as another speaker's.

Resonances are moved along the frequencies, and a tone curve is applied.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

POINTS = 8  # of a tone curve, evenly spaced along the square root of the frequency
_WINDOW, _HOP = 1024, 256
_LIFTER = 48  # cepstral coefficients of what counts as resonance: below the pitch period of high voices
_MOST = 18.0  # decibels by which anything changes


class Disguise(NamedTuple):
    """`resonances`: factor on their frequencies; `curve`: dB at `POINTS` frequencies."""

    resonances: float
    curve: tuple[float, ...]


PLAIN = Disguise(1.0, (0.0,) * POINTS)


def disguised(waves: Tensor, disguises: Sequence[Disguise]) -> Tensor:
    """Samples (B, n), each row with its own disguise."""
    if all(disguise == PLAIN for disguise in disguises):
        return waves
    window = torch.hann_window(_WINDOW, device=waves.device)
    spectrum = torch.stft(waves, _WINDOW, _HOP, window=window, return_complex=True)
    envelope = _envelope(spectrum.abs().clamp(min=1e-4).log())
    factors = waves.new_tensor([disguise.resonances for disguise in disguises])
    curves = waves.new_tensor([disguise.curve for disguise in disguises])
    change = _stretched(envelope, factors) - envelope + _tone(curves, spectrum.shape[1])[..., None]
    limit = _MOST / 20 * 2.303
    spectrum = spectrum * change.clamp(-limit, limit).exp()
    return torch.istft(spectrum, _WINDOW, _HOP, window=window, length=waves.shape[1])


def _envelope(levels: Tensor) -> Tensor:
    """Smooth part of log magnitudes (B, bins, T), by frame."""
    cepstrum = torch.fft.irfft(levels, dim=1)
    taper = torch.zeros(cepstrum.shape[1], device=levels.device)
    slope = torch.cos(torch.arange(_LIFTER, device=levels.device) / _LIFTER * torch.pi / 2).square()
    taper[:_LIFTER] = slope
    taper[-_LIFTER + 1 :] = slope[1:].flip(0)
    return torch.fft.rfft(cepstrum * taper[:, None], dim=1).real


def _stretched(envelope: Tensor, factors: Tensor) -> Tensor:
    """Envelopes (B, bins, T), stretched in frequency by `factors` (B,)."""
    bins = envelope.shape[1]
    places = (torch.arange(bins, device=envelope.device) / factors[:, None]).clamp(max=bins - 1)
    low = places.long().clamp(max=bins - 2)
    share = (places - low)[..., None]
    index = low[..., None].expand(-1, -1, envelope.shape[2])
    return envelope.gather(1, index) * (1 - share) + envelope.gather(1, index + 1) * share


def _tone(curves: Tensor, bins: int) -> Tensor:
    """(B, POINTS) decibels -> (B, bins) natural logarithms."""
    places = torch.linspace(0, 1, bins, device=curves.device).sqrt() * 2 - 1
    grid = torch.stack((places, torch.zeros_like(places)), -1).expand(len(curves), 1, -1, -1)
    levels = F.grid_sample(curves[:, None, None], grid, align_corners=True, padding_mode="border")
    return levels[:, 0, 0] / 20 * 2.303
