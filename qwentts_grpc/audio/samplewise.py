"""Encodings of one code a sample: PCM, G.711, WAV.

Nothing is held back.
"""

import struct
from collections.abc import Callable

import numpy as np

from qwentts_grpc.audio.encoded import Encoded
from qwentts_grpc.audio.g711 import ALAW, MULAW
from qwentts_grpc.audio.resample import Pcm

_UNKNOWN_SIZE = 0xFFFF_FFFF  # a WAV of unknown length: readers take the data up to the end of the stream
_PCM_TAG = 1


class Samplewise:
    """A body whose every sample is encoded by itself."""

    def __init__(self, to_bytes: Callable[[Pcm], bytes], head: bytes = b"") -> None:
        self.head = head
        self._to_bytes = to_bytes

    def encode(self, pcm: Pcm) -> Encoded:
        return Encoded(self._to_bytes(pcm), len(pcm))

    def finish(self) -> Encoded:
        return Encoded(b"", 0)


def s16le(pcm: Pcm) -> bytes:
    """Little-endian int16."""
    return pcm.astype("<i2", copy=False).tobytes()


def f32le(pcm: Pcm) -> bytes:
    """Little-endian float32 in [-1, 1): exactly int16 / 32768."""
    return (pcm / np.float32(32_768)).astype("<f4", copy=False).tobytes()


def mulaw(pcm: Pcm) -> bytes:
    """ITU-T G.711 mu-law, one byte a sample."""
    return MULAW[pcm.view(np.uint16)].tobytes()


def alaw(pcm: Pcm) -> bytes:
    """ITU-T G.711 A-law, one byte a sample."""
    return ALAW[pcm.view(np.uint16)].tobytes()


def wav_head(rate: int) -> bytes:
    """The 44-byte header of a 16-bit mono WAV, length unknown."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, _PCM_TAG, 1, rate, 2 * rate, 2, 16)
    return struct.pack("<4sI4s", b"RIFF", _UNKNOWN_SIZE, b"WAVE") + form + struct.pack("<4sI", b"data", _UNKNOWN_SIZE)
