"""Recordings to clone, as files or samples."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from engine.api.errors import InvalidRequest
from engine.api.request import RECORDING_RATE

Recording = (
    str | Path | tuple[npt.NDArray[Any], int]
)  # a file, or samples (mono, or a column a channel) with their rate


def read_recording(recording: Recording) -> npt.NDArray[np.float32]:
    """Mono samples at `RECORDING_RATE`.

    Raises `InvalidRequest` for a file that is no recording.
    """
    try:
        samples, rate = recording if isinstance(recording, tuple) else soundfile.read(recording)
    except (OSError, soundfile.SoundFileError) as error:
        raise InvalidRequest("ref_audio", str(error)) from error
    samples = np.asarray(samples)
    if np.issubdtype(samples.dtype, np.integer):
        samples = samples / -float(np.iinfo(samples.dtype).min)
    mono = samples.astype(np.float32) if samples.ndim == 1 else samples.mean(axis=1, dtype=np.float32)
    return np.asarray(soxr.resample(mono, rate, RECORDING_RATE), np.float32)
