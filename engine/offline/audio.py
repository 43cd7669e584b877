"""Audio of texts, errors of batches."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.api.errors import EngineError
from engine.api.events import AudioChunk
from engine.api.types import Codes, Pcm


@dataclass(frozen=True, slots=True, eq=False)
class Audio:
    """Speech of one text.

    `pcm`: (samples,) int16 mono at `sample_rate` Hz. `codes`: (frames, code groups) int32 that it was decoded from.
    """

    pcm: Pcm
    codes: Codes
    sample_rate: int
    seed: int

    @classmethod
    def of(cls, chunks: Sequence[AudioChunk], sample_rate: int, seed: int) -> "Audio":
        """Join consecutive chunks, one at least."""
        pcm, codes = [chunk.pcm for chunk in chunks], [chunk.codes for chunk in chunks]
        return cls(np.concatenate(pcm), np.concatenate(codes), sample_rate, seed)


class BatchFailed(EngineError):
    """Some texts of a batch failed.

    `results` has each one's audio or error.
    """

    def __init__(self, results: Sequence[Audio | EngineError]) -> None:
        errors = [result for result in results if isinstance(result, EngineError)]
        super().__init__(f"{len(errors)} of {len(results)} texts failed, the first with: {errors[0]}")
        self.reason = errors[0].reason
        self.results = results
