"""G.711: published values, and the laws that hold between a code and the sample it stands for."""

import io
from collections.abc import Callable

import numpy as np
import pytest
import soundfile

from qwentts_grpc.audio.resample import Pcm
from qwentts_grpc.audio.samplewise import alaw, mulaw

EVERY_SAMPLE = np.arange(-32_768, 32_768).astype(np.int16)
EVERY_CODE = bytes(range(256))


def values(law: str) -> Pcm:
    """The sample that each of the 256 codes stands for, by another implementation."""
    raw = soundfile.read(io.BytesIO(EVERY_CODE), format="RAW", subtype=law, samplerate=8_000, channels=1, dtype="int16")
    return raw[0]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("sample", "code"),
    [
        (0, 0xFF), (-1, 0x7F), (4, 0xFE), (-5, 0x7E), (100, 0xF2), (1_000, 0xCE), (-1_000, 0x4E), (8_000, 0xA0),
        (32_635, 0x80), (32_767, 0x80), (-32_636, 0x00), (-32_768, 0x00),
    ],
)  # fmt: skip
def test_mulaw_of_known_samples(sample: int, code: int) -> None:
    assert mulaw(np.array([sample], np.int16)) == bytes([code])


@pytest.mark.parametrize(
    ("sample", "code"),
    [
        (0, 0xD5), (-1, 0x55), (15, 0xD5), (16, 0xD4), (100, 0xD3), (1_000, 0xFA), (-1_000, 0x7A), (32_767, 0xAA),
        (-32_768, 0x2A),
    ],
)  # fmt: skip
def test_alaw_of_known_samples(sample: int, code: int) -> None:
    assert alaw(np.array([sample], np.int16)) == bytes([code])


def test_mulaw_of_decoded_codes_is_the_identity_but_for_the_negative_zero() -> None:
    again = mulaw(values("ULAW"))
    assert [code for code in range(256) if again[code] != code] == [0x7F]


def test_alaw_of_decoded_codes_is_the_identity() -> None:
    assert alaw(values("ALAW")) == EVERY_CODE


@pytest.mark.parametrize(("encode", "law"), [(mulaw, "ULAW"), (alaw, "ALAW")])
def test_the_code_is_within_half_a_step_and_never_runs_backwards(encode: Callable[[Pcm], bytes], law: str) -> None:
    heard = values(law)[np.frombuffer(encode(EVERY_SAMPLE), np.uint8)].astype(np.int32)
    assert (np.diff(heard) >= 0).all()
    sample = EVERY_SAMPLE.astype(np.int32)
    error, inside = np.abs(heard - sample), np.abs(sample) <= 32_000
    assert (error * 30 <= np.abs(sample) + 256)[inside].all()
