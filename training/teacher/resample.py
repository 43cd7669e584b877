"""Change of the sample rate by a rational ratio.

A windowed sinc, one filter for each phase.
"""

import math
from fractions import Fraction
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

_ZEROS = 24  # of the sinc on each side
_ROLLOFF = 0.96  # where the filter begins to close, as a share of the lower of both bands


def resample(waves: Tensor, ratio: Fraction) -> Tensor:
    """Samples (B, n) at `ratio` times the rate.

    Returns (B, ceil(n * ratio)) samples of the same sound.
    """
    up, down = ratio.numerator, ratio.denominator
    filters, reach = _filters(up, down)
    length = math.ceil(waves.shape[1] * ratio)
    padded = F.pad(waves, (reach, reach + down))[:, None]
    phases = F.conv1d(padded, filters.to(waves), stride=down)  # (B, up, steps)
    return phases.transpose(1, 2).flatten(1)[:, :length]


@cache
def _filters(up: int, down: int) -> tuple[Tensor, int]:
    """Filters (up, 1, taps), with the samples they look back."""
    cutoff = min(1.0, up / down) * _ROLLOFF
    reach = math.ceil(_ZEROS / cutoff)
    offsets = torch.arange(-reach, down + reach, dtype=torch.float64)
    time = offsets - torch.arange(up, dtype=torch.float64)[:, None] * down / up
    window = torch.cos((time * cutoff / _ZEROS).clamp(-1, 1) * math.pi / 2) ** 2
    return (torch.sinc(time * cutoff) * window * cutoff)[:, None].float(), reach
