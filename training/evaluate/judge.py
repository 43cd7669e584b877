"""Independent speaker encoder, resemblyzer's, for judging clones.

A recurrent encoder trained on people's recordings (Wan et al. 2018, arXiv 1710.10467); its weights are in the package.
"""

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from resemblyzer import VoiceEncoder, normalize_volume

_RATE, _LOUDNESS = 16_000, -30  # Hz, dBFS: as in its training


class Judge:
    """Recordings to unit vectors; products tell likeness."""

    def __init__(self) -> None:
        self._encoder = VoiceEncoder("cpu", verbose=False)

    def vector(self, samples: NDArray[np.int16], rate: int = 24_000) -> NDArray[np.float32]:
        """Unit vector (256,) of mono `samples`."""
        heard = soxr.resample(samples.astype(np.float32) / 32_768, rate, _RATE)
        with torch.inference_mode():
            vector: NDArray[np.float32] = self._encoder.embed_utterance(normalize_volume(heard, _LOUDNESS, True))
        return vector
