"""Log-mel frames of a recording, in fp32.

Front end of the speaker encoder.
The filters follow Slaney's Auditory Toolbox (1998): linear below 1 kHz, logarithmic above, triangles of equal area.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW = 1024  # samples, also the length of the transform
HOP = 256  # samples between frames
LINEAR_HZ = 200 / 3  # Hz a mel below the knee
KNEE_HZ = 1000.0
MELS_PER_LOG = 27 / math.log(6.4)  # above the knee: 27 mels for a factor of 6.4


class LogMel:
    """Natural logarithm of mel magnitudes, clamped at 1e-5.

    From 0 Hz to half the sample rate.
    """

    def __init__(self, sample_rate: int, bands: int, device: torch.device | str = "cpu") -> None:
        self.filters = slaney_filters(sample_rate, bands).to(device)
        self.window = torch.hann_window(WINDOW, device=device)

    def __call__(self, samples: Tensor) -> Tensor:
        """Log-mel frames on the filters' device.

        Mono samples (T,), T at least 385 -> (bands, T / 256).
        """
        margin = (WINDOW - HOP) // 2
        padded = F.pad(samples.to(self.window.device).float()[None], (margin, margin), "reflect")[0]
        spectrum = torch.stft(padded, WINDOW, HOP, window=self.window, center=False, return_complex=True)
        magnitude = torch.view_as_real(spectrum).square().sum(-1).add(1e-9).sqrt()
        return (self.filters @ magnitude).clamp(min=1e-5).log()


def slaney_filters(sample_rate: int, bands: int, window: int = WINDOW) -> Tensor:
    """Mel filters (bands, window / 2 + 1) fp32.

    The weight of each frequency of the transform in each mel band.
    """
    bins = torch.linspace(0, sample_rate / 2, window // 2 + 1, dtype=torch.float64)
    edges = _hertz(torch.linspace(0, _mel(sample_rate / 2), bands + 2, dtype=torch.float64))
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (bins - left) / (centre - left), (right - bins) / (right - centre)
    return (torch.minimum(rising, falling).clamp(min=0) * 2 / (right - left)).float()


def _mel(hertz: float) -> float:
    """Mel of a frequency above the knee."""
    return KNEE_HZ / LINEAR_HZ + MELS_PER_LOG * math.log(hertz / KNEE_HZ)


def _hertz(mels: Tensor) -> Tensor:
    linear = mels * LINEAR_HZ
    logarithmic = KNEE_HZ * ((mels - KNEE_HZ / LINEAR_HZ) / MELS_PER_LOG).exp()
    return torch.where(linear < KNEE_HZ, linear, logarithmic)
