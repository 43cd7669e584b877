"""A created voice as one safetensors file.

Two arrays, and a JSON card in the header. No pickle, no recording.
"""

import json
import re
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
LONGEST = {"transcript": 10_000, "description": 1_000, "consent_reference": 1_000}  # characters
MAX_FRAMES = 60 * 50 + 1  # of the longest recording, at up to 50 Hz

_FORMAT = "qwentts-voice-1"
_LENGTH_BYTES = 8  # a safetensors file starts with the length of its JSON header, little-endian
_LONGEST_OTHER = 512  # characters of a model's name, an owner, a digest
_LAST_TIME = 253_402_300_799 * 10**9  # the end of the year 9999, where timestamps on the wire end
# Errors that parsers raise for invalid bytes.
_UNPARSABLE = (SafetensorError, AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError)


class DamagedVoice(ValueError):
    """The bytes are not a voice written by this version."""


@dataclass(frozen=True, slots=True)
class VoiceCard:
    """Metadata of a created voice.

    `create_time_ns` since the epoch; `model` is the checkpoint's name; `audio_sha256` is the recording's, in hex;
    `consent_reference` is the creator's proof of consent; `owner` is the tenant, empty for a shared voice.
    """

    name: str
    model: str
    create_time_ns: int
    transcript: str = ""
    description: str = ""
    audio_sha256: str = ""
    consent_reference: str = ""
    owner: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class StoredVoice:
    """Card plus arrays of a created voice.

    `codes`: (frames, code groups) int32, no frames in x-vector mode; `embedding`: (talker width,) float32.
    """

    card: VoiceCard
    codes: npt.NDArray[np.int32]
    embedding: npt.NDArray[np.float32]

    @property
    def size(self) -> int:
        """Bytes of both arrays."""
        return self.codes.nbytes + self.embedding.nbytes


def to_bytes(voice: StoredVoice) -> bytes:
    """The file's content."""
    tensors = {"codes": np.ascontiguousarray(voice.codes), "embedding": np.ascontiguousarray(voice.embedding)}
    return save(tensors, {"format": _FORMAT, "card": json.dumps(asdict(voice.card))})


def from_bytes(data: bytes) -> StoredVoice:
    """The voice, its arrays read-only; raises `DamagedVoice`."""
    try:
        tensors, card = load(data), _card(data)
        voice = StoredVoice(card, tensors["codes"], tensors["embedding"])
    except _UNPARSABLE as error:
        raise DamagedVoice(f"not a voice file: {type(error).__name__}") from error
    _check_card(card)
    _check_arrays(voice)
    for array in (voice.codes, voice.embedding):
        array.setflags(write=False)
    return voice


def _card(data: bytes) -> VoiceCard:
    end = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "little")
    header: dict[str, Any] = json.loads(data[_LENGTH_BYTES:end])
    metadata = header["__metadata__"]
    if metadata["format"] != _FORMAT:
        raise ValueError(metadata["format"])
    return VoiceCard(**json.loads(metadata["card"]))


def _check_card(card: VoiceCard) -> None:
    """Validate every value's type, so that it fits the wire.

    The card is as untrusted as the arrays.
    """
    for field in fields(card):
        value = getattr(card, field.name)
        if field.type is int:
            fits = type(value) is int and 0 <= value <= _LAST_TIME
        else:
            fits = isinstance(value, str) and _fits(value, LONGEST.get(field.name, _LONGEST_OTHER))
        if not fits:
            raise DamagedVoice(f"{field.name} of its card cannot be used")
    if not NAME.fullmatch(card.name):
        raise DamagedVoice("its card names no voice")


def _fits(value: str, longest: int) -> bool:
    return len(value) <= longest and not any("\ud800" <= character <= "\udfff" for character in value)


def _check_arrays(voice: StoredVoice) -> None:
    codes, embedding = voice.codes, voice.embedding
    if codes.dtype != np.int32 or codes.ndim != 2 or embedding.dtype != np.float32 or embedding.ndim != 1:
        raise DamagedVoice(f"codes {codes.dtype} {codes.shape}, embedding {embedding.dtype} {embedding.shape}")
    if len(codes) > MAX_FRAMES or not np.isfinite(embedding).all():
        raise DamagedVoice("its codes are too many, or its embedding is not finite")
