"""Equal loudness of recordings, with a fixed silence around."""

import torch
from torch import Tensor

_HOP = 240  # samples: 10 ms at 24 kHz
_BEFORE, _AFTER = 3_840, 2_880  # samples of silence that stay: 160 and 120 ms
_QUIET = 10 ** (-40 / 20)  # of the loudest 10 ms: what counts as silence
_LOUDNESS = 10 ** (-23 / 20)  # root mean square of what is not silence
_PEAK = 0.95


def level(waves: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Samples of one loudness, with each recording's start, its end.

    Takes samples (B, n) and lengths (B,). A recording may start before sample 0 or end after its length: then there is
    too little silence, so pad.
    """
    waves = waves * (torch.arange(waves.shape[1], device=waves.device) < lengths[:, None])
    loudness = torch.nn.functional.avg_pool1d(waves.square()[:, None], _HOP, ceil_mode=True)[:, 0].sqrt()
    active = loudness > loudness.amax(1, keepdim=True) * _QUIET
    first = active.int().argmax(1)
    last = loudness.shape[1] - active.flip(1).int().argmax(1)
    mean = ((loudness * active).square().sum(1) / active.sum(1)).sqrt()
    gain = torch.minimum(_LOUDNESS / mean, _PEAK / waves.abs().amax(1))
    return waves * gain[:, None], first * _HOP - _BEFORE, last * _HOP + _AFTER
