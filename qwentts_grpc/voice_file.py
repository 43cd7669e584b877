"""A created voice as one safetensors file: two arrays, and a JSON card in the header. No pickle, no recording."""

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

_FORMAT = "qwentts-voice-1"
_LENGTH_BYTES = 8  # a safetensors file starts with the length of its JSON header, little-endian


class DamagedVoice(ValueError):
    """The bytes are not a voice that this version wrote."""


@dataclass(frozen=True, slots=True)
class VoiceCard:
    """What is known of a voice besides its sound. `create_time_ns` since the epoch; `model` is the checkpoint's name.

    `audio_sha256` is the recording's, in hex; `consent_reference` is whatever the creator gave as proof of consent.
    """

    name: str
    model: str
    create_time_ns: int
    transcript: str = ""
    description: str = ""
    audio_sha256: str = ""
    consent_reference: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class StoredVoice:
    """`codes`: (frames, code groups) int32, no frames in x-vector mode; `embedding`: (talker width,) float32."""

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
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DamagedVoice(f"not a voice file: {type(error).__name__}") from error
    _check(voice)
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


def _check(voice: StoredVoice) -> None:
    codes, embedding = voice.codes, voice.embedding
    if codes.dtype != np.int32 or codes.ndim != 2 or embedding.dtype != np.float32 or embedding.ndim != 1:
        raise DamagedVoice(f"codes {codes.dtype} {codes.shape}, embedding {embedding.dtype} {embedding.shape}")
