"""ITU-T G.711 companding as two tables of 65,536 bytes.

Indexed by the sample's 16 bits read as unsigned.
"""

import numpy as np
import numpy.typing as npt

Table = npt.NDArray[np.uint8]

_SAMPLES = np.arange(65_536, dtype=np.uint16).view(np.int16).astype(np.int32)
_MAGNITUDES = np.where(_SAMPLES < 0, ~_SAMPLES, _SAMPLES)  # ones' complement: 0 and -1 are the two zeros


def _exponent(values: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """floor(log2) of positive integers."""
    return (np.frexp(values.astype(np.float64))[1] - 1).astype(np.int32)


def _bytes(codes: npt.NDArray[np.int32]) -> Table:
    return (codes & 0xFF).astype(np.uint8)


def _mulaw() -> Table:
    """Codes of 14-bit magnitudes plus a bias of 33.

    Clipped to 13 bits: sign, 3 bits of segment, 4 of step, all inverted.
    """
    biased = np.minimum((_MAGNITUDES >> 2) + 33, 8_191)
    segment = _exponent(biased) - 5
    code = (segment << 4) | ((biased >> (segment + 1)) & 0x0F)
    return _bytes(~np.where(_SAMPLES < 0, code | 0x80, code))


def _alaw() -> Table:
    """Codes of 13-bit magnitudes.

    The two lowest segments are linear; even bits inverted, positive sign is 1.
    """
    magnitude = _MAGNITUDES >> 4
    segment = np.maximum(_exponent(np.maximum(magnitude, 1)) - 3, 0)
    step = magnitude >> np.maximum(segment - 1, 0)
    code = (segment << 4) | (step & 0x0F)
    return _bytes(np.where(_SAMPLES < 0, code, code | 0x80) ^ 0x55)


MULAW: Table = _mulaw()
ALAW: Table = _alaw()
