"""The listener, modelled at the client.

Plays from the first chunk on, with no buffer and no tolerance.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

SAMPLE_RATE = 24_000
WINDOW, HOP = SAMPLE_RATE * 20 // 1000, SAMPLE_RATE * 10 // 1000  # samples in 20 ms and in 10 ms
AUDIBLE = 32768.0 * 10 ** (-45 / 20)  # RMS of int16 samples at -45 dBFS


def underruns(arrivals: Sequence[float], durations: Sequence[float]) -> int:
    """Number of chunks that arrived after their playback was due.

    A late chunk delays the deadlines after it. All in seconds. The first chunk starts playback and is never late.
    """
    late, deadline = 0, arrivals[0] if arrivals else 0.0
    for arrival, duration in zip(arrivals, durations, strict=True):
        if arrival > deadline:
            late += 1
            deadline = arrival
        deadline += duration
    return late


def leading_silence(pcm: bytes) -> float | None:
    """Seconds before the first sound; None if all is silent.

    Of int16 audio at 24 kHz. Sound is two consecutive windows of 20 ms, 10 ms apart, of at least -45 dBFS each after
    removal of their mean.
    """
    samples = np.frombuffer(pcm, "<i2").astype(np.float64)
    if len(samples) < WINDOW + HOP:
        return None
    loud = _levels(samples) >= AUDIBLE
    found = np.flatnonzero(loud[:-1] & loud[1:])
    return float(found[0]) * HOP / SAMPLE_RATE if found.size else None


def _levels(samples: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """RMS of each window, its mean removed."""
    windows = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
    levels: npt.NDArray[np.float64] = windows.std(axis=1)
    return levels
