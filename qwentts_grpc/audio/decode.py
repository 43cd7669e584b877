"""Reference recordings: bytes of a WAV, FLAC or OGG file into the 24 kHz mono floats that the engine clones from.

The bytes are a stranger's. They never touch a disk, only three container types reach the decoder, and no more is
decoded than the longest recording allowed, so a small file that unpacks to hours costs no more than a long one.
"""

import io
import math

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from engine.errors import InvalidRequest
from engine.request import SAMPLE_RATE
from qwentts_grpc.audio import containers

Samples = npt.NDArray[np.float32]

MAX_BYTES = 10 * 2**20
MIN_SECONDS, MAX_SECONDS = 1.0, 60.0
MAX_CHANNELS = 8
RATES = range(8_000, 192_001)

_FIELD = "reference.audio"
_DAMAGED = "cannot be decoded: the file is damaged or cut short"
_UNKNOWN_FRAMES = 2**62  # what soundfile says of a FLAC stream without a length
_SUBTYPES = {"PCM_U8", "PCM_S8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "VORBIS", "OPUS"}
_LOUDEST = 4.0  # 12 dB over full scale: more than any decoder's overshoot, less than what overflows a spectrum


def decode_reference(
    data: bytes,
    *,
    min_seconds: float = MIN_SECONDS,
    max_seconds: float = MAX_SECONDS,
    max_bytes: int = MAX_BYTES,
) -> Samples:
    """Mono float32 (n,) at 24 kHz from a file's bytes: channels averaged, resampled by soxr HQ.

    The samples equal `librosa.load(sr=None)` followed by `librosa.resample` to 24 kHz. Raises `InvalidRequest` on
    "reference.audio": reason REFERENCE_DURATION outside [min_seconds, max_seconds], FIELD_INVALID for all else.
    Blocks for some milliseconds a second of audio, so call it on a worker thread.
    """
    if len(data) > max_bytes:
        raise InvalidRequest(_FIELD, f"has {len(data)} bytes; the limit is {max_bytes}")
    if not containers.is_known(data):
        raise InvalidRequest(_FIELD, "is not a WAV, FLAC or OGG file")
    if containers.is_cut_short(data):
        raise InvalidRequest(_FIELD, _DAMAGED)
    samples, rate = _read(data, max_seconds)
    _check(samples, rate, min_seconds, max_seconds)
    return _to_24_khz(samples, rate)


class _Forward(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """Reads from front to back, without the seek that soundfile adds to each read and streamed FLAC cannot do."""

    def seekable(self) -> bool:
        return False


def _read(data: bytes, max_seconds: float) -> tuple[Samples, int]:
    """Mono samples at the file's own rate, one more than allowed where the file is too long."""
    try:
        with _Forward(io.BytesIO(data)) as file:
            _check_shape(file)
            limit = math.floor(max_seconds * file.samplerate) + 1
            samples = _read_blocks(file, limit)
            if len(samples) < min(limit, file.frames) and file.frames < _UNKNOWN_FRAMES:
                raise InvalidRequest(_FIELD, _DAMAGED)
            return samples, file.samplerate
    except soundfile.SoundFileError as error:
        raise InvalidRequest(_FIELD, _DAMAGED) from error


def _check_shape(file: soundfile.SoundFile) -> None:
    if file.subtype not in _SUBTYPES:
        raise InvalidRequest(_FIELD, f"has samples of an unsupported kind ({file.subtype})")
    if file.samplerate not in RATES:
        raise InvalidRequest(_FIELD, f"has {file.samplerate} Hz, not {RATES[0]} to {RATES[-1]}")
    if file.channels > MAX_CHANNELS:
        raise InvalidRequest(_FIELD, f"has {file.channels} channels; the limit is {MAX_CHANNELS}")


def _read_blocks(file: soundfile.SoundFile, limit: int) -> Samples:
    """At most `limit` samples, one second at a time: a header's word on the length is never believed."""
    blocks: list[Samples] = []
    left = limit
    while left and len(block := file.read(min(left, file.samplerate), dtype="float32", always_2d=True)):
        with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is refused afterwards
            blocks.append(block.mean(axis=1))
        left -= len(block)
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def _check(samples: Samples, rate: int, min_seconds: float, max_seconds: float) -> None:
    seconds = len(samples) / rate
    if seconds > max_seconds:
        raise InvalidRequest(_FIELD, f"is longer than {max_seconds:g} s", "REFERENCE_DURATION")
    if seconds < min_seconds:
        raise InvalidRequest(_FIELD, f"has {seconds:.2f} s; the least is {min_seconds:g} s", "REFERENCE_DURATION")
    if not (np.abs(samples) <= _LOUDEST).all():  # NaN is not
        raise InvalidRequest(_FIELD, "has samples that are not finite, or far over full scale")


def _to_24_khz(samples: Samples, rate: int) -> Samples:
    if rate == SAMPLE_RATE:
        return samples
    resampled: Samples = soxr.resample(samples, rate, SAMPLE_RATE, quality="HQ")
    length = math.ceil(len(samples) * SAMPLE_RATE / rate)  # librosa's length, where soxr's own rounds to nearest
    return np.pad(resampled[:length], (0, max(0, length - len(resampled))))
