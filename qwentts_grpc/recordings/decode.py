"""Reference recordings: file bytes to 24 kHz mono floats.

The bytes are untrusted: `decode_worker` runs this in a process of its own.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import soxr

from engine.api.request import RECORDING_RATE
from qwentts_grpc.recordings import containers, headers, quality
from qwentts_grpc.recordings.sound import CUT_SHORT, Sound, read_sound
from qwentts_grpc.recordings.unusable import DURATION, unusable
from qwentts_grpc.wire.limits import RecordingLimits

Samples = npt.NDArray[np.float32]

_LOUDEST = 4.0  # 12 dB over full scale: more than any decoder's overshoot, less than what overflows a spectrum


class Recording(NamedTuple):
    """A decoded recording.

    `samples`: (n,) at 24 kHz. `remarks`: one line for each quality problem.
    """

    samples: Samples
    remarks: tuple[str, ...]


def check_size(size: int, limits: RecordingLimits) -> None:
    """Raise `InvalidRequest` for a file of more bytes than allowed."""
    if size > limits.bytes:
        raise unusable(f"has {size} bytes; the limit is {limits.bytes}")


def decode_recording(data: bytes, limits: RecordingLimits) -> Recording:
    """Channels averaged, resampled by soxr HQ.

    Equal to `librosa.load(sr=None)` with `librosa.resample`. Raises `InvalidRequest` on "reference.audio": reason
    REFERENCE_DURATION for its length, FIELD_INVALID for all else.
    """
    check_size(len(data), limits)
    file, cut_short = headers.sized(containers.without_tags(data))
    demuxer = containers.demuxer(file)
    if not demuxer:
        raise unusable(f"is not a {containers.TAKEN} file")
    sound = read_sound(file, demuxer, limits)
    _check(sound, limits.min_seconds)
    remarks = sound.remarks + ((CUT_SHORT,) if cut_short else ())
    remarks += quality.examine(sound.samples, sound.rate, limits.min_seconds)
    return Recording(_to_24_khz(sound.samples, sound.rate), remarks)


def _check(sound: Sound, min_seconds: float) -> None:
    seconds = len(sound.samples) / sound.rate
    if seconds < min_seconds:
        raise unusable(f"has {seconds:.2f} s; the least is {min_seconds:g} s", DURATION)
    if not (sound.samples.min() >= -_LOUDEST and sound.samples.max() <= _LOUDEST):  # NaN is neither
        raise unusable("has samples that are not finite, or far over full scale")


def _to_24_khz(samples: Samples, rate: int) -> Samples:
    if rate == RECORDING_RATE:
        return samples
    resampled: Samples = soxr.resample(samples, rate, RECORDING_RATE, quality="HQ")
    length = math.ceil(len(samples) * RECORDING_RATE / rate)  # librosa's length, where soxr's own rounds to nearest
    return np.pad(resampled[:length], (0, max(0, length - len(resampled))))
