"""A streaming resampler for int16 PCM, independent of chunking."""

import numpy as np
import numpy.typing as npt
import soxr

SAMPLE_RATES = (8_000, 16_000, 22_050, 24_000, 44_100, 48_000)

Pcm = npt.NDArray[np.int16]

_FULL_SCALE = 32_768.0


class Resampler:
    """int16 mono at `native` Hz to `rate`, by soxr HQ.

    Linear phase.
    Exact at seams: the concatenated output is the same, bit for bit, for any division of the input. At `finish`, which
    ends one stream and begins the next, n samples in have become the integer nearest to n * rate / native (exact for
    whole codec frames; at a tie either neighbour, which one depends on n alone). soxr works in blocks, so output trails
    input by at most 39 ms (8 kHz: 74 ms; 24 kHz: none, samples pass untouched); a first chunk of 80 ms gives at least
    61 ms at once.
    The filter runs on float32 and is rounded here, because soxr's own int16 output is dithered from a random seed.
    """

    def __init__(self, native: int, rate: int) -> None:
        assert rate in SAMPLE_RATES
        self._stream = None if rate == native else soxr.ResampleStream(native, rate, 1, "float32", "HQ")

    def process(self, pcm: Pcm) -> Pcm:
        """Output completed by (n,) int16: (m,) int16, perhaps empty."""
        return self._run(pcm, last=False)

    def finish(self) -> Pcm:
        """The samples still held."""
        rest = self._run(np.zeros(0, np.int16), last=True)
        if self._stream is not None:
            self._stream.clear()
        return rest

    def _run(self, pcm: Pcm, last: bool) -> Pcm:
        if self._stream is None:
            return pcm
        resampled: npt.NDArray[np.float32] = self._stream.resample_chunk(pcm.astype(np.float32), last=last)
        return np.clip(np.rint(resampled), -_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16)
