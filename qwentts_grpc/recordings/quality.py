"""Quality of a recording: silence is refused, defects are remarked.

The thresholds come from synthetic speech of six voices with noise, clipping and codecs added; docs/voices.md has them.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from qwentts_grpc.recordings.unusable import DURATION, unusable

Samples = npt.NDArray[np.float32]
Levels = npt.NDArray[np.float64]

FRAME_SECONDS = 0.02
SILENCE_DB = -60.0  # of full scale: a frame that is not louder counts as silent
BELOW_PEAK_DB = 40.0  # as does one this much quieter than the loudest
TOO_QUIET_DB = -50.0
QUIET_DB = -40.0
NOISE_DB = 15.0  # between loud frames and quiet ones; the ratio of speech to noise is about as large
NOISE_SECONDS = 2.0  # shorter speech may have no pause that shows the noise
STEADY_DB = 3.0  # a tone: its tops are flat without clipping
FLAT_SHARE = 0.001  # of the samples, in runs of three or more at the very top
BLOCK = 65_536  # samples
ENOUGH_SAMPLES = 500_000  # to take percentiles of
BLUNT_TOP = 1.1  # 99.9th over 98th percentile: 1.24 or more in speech, nearer 1 where a codec has smoothed clipped tops


def examine(samples: Samples, rate: int, min_seconds: float) -> tuple[str, ...]:
    """Remarks on mono speech, one line for each defect.

    Raises `InvalidRequest` on "reference.audio" for silence (FIELD_INVALID), and for less than `min_seconds` from the
    first sound to the last (REFERENCE_DURATION).
    """
    levels = _levels(samples, rate)
    loudest = np.sort(levels)[-3:].min(initial=0.0)  # ignores a click
    if loudest < TOO_QUIET_DB:
        raise unusable(f"is silent or far too quiet: its loudest sound has {loudest:.0f} dB of full scale")
    sounds = np.flatnonzero(levels > max(SILENCE_DB, loudest - BELOW_PEAK_DB))
    first, last = sounds[0], sounds[-1] + 1
    seconds = FRAME_SECONDS * min(last - first, 2 * len(sounds))
    if seconds < min_seconds - FRAME_SECONDS:
        message = f"has {seconds:.2f} s of sound in its silence; the least is {min_seconds:g} s"
        raise unusable(message, DURATION)
    return tuple(_remarks(samples, levels[first:last], levels[sounds]))


def _remarks(samples: Samples, span: Levels, sounds: Levels) -> Iterator[str]:
    level = 10 * np.log10((10 ** (sounds / 10)).mean())
    if level < QUIET_DB:
        yield f"is very quiet: {level:.0f} dB of full scale, where speech has some -20"
    range_db = np.percentile(span, 90) - np.percentile(span, 10)
    if range_db < NOISE_DB and len(span) * FRAME_SECONDS >= NOISE_SECONDS:
        yield f"has much noise, or no speech: its loud moments are {range_db:.0f} dB above its quiet ones"
    if _flat_share(samples) > FLAT_SHARE or (range_db > STEADY_DB and _top(samples) < BLUNT_TOP):
        yield "is clipped: it was recorded too loud"


def _levels(samples: Samples, rate: int) -> Levels:
    """Level of each whole frame in dB of full scale.

    Its mean is subtracted: a constant is no sound.
    """
    size = round(rate * FRAME_SECONDS)
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    power = np.concatenate([some.var(axis=1) for some in _pieces(frames, BLOCK // size)])
    return 10 * np.log10(power.astype(np.float64) + 1e-12)


def _flat_share(samples: Samples) -> float:
    """Share of samples equal to both neighbours, at the extremes."""
    top = 0.99 * max(samples.max(), -samples.min())
    flat = sum(_flat(some, top) for some in _pieces(samples, BLOCK))
    return flat / len(samples)


def _flat(samples: Samples, top: float) -> int:
    same = samples[1:] == samples[:-1]
    return int(np.count_nonzero(same[1:] & same[:-1] & (np.abs(samples[1:-1]) >= top)))


def _pieces(array: Samples, size: int) -> Iterator[Samples]:
    """Blocks small enough for all intermediate results to stay cached."""
    return (array[start : start + size] for start in range(0, len(array), size))


def _top(samples: Samples) -> float:
    """Ratio of the very loudest samples to the loud ones."""
    loud = np.abs(samples[:: 1 + len(samples) // ENOUGH_SAMPLES])
    very, usual = np.percentile(loud[loud > 0.02 * loud.max()], (99.9, 98))
    return float(very / usual)
