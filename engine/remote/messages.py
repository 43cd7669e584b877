"""Messages of the link to an engine's process.

Times are `time.monotonic()`, one clock for all processes of a host.
"""

from typing import Any

import msgspec
import numpy as np

from engine.api.config import ModelCard
from engine.api.errors import (
    Busy,
    CheckpointError,
    EngineError,
    EngineFailed,
    GenerationFailed,
    InputIdle,
    InvalidRequest,
    RequestTooLarge,
    SlowConsumer,
    TextTooLong,
    Unsupported,
    VoiceNotFound,
)
from engine.api.events import AudioChunk, Finished, FlushDone, Notice, SegmentDone, Started
from engine.api.request import Reference, Sampling, SpeechRequest
from engine.api.voice import Voice

_PLAIN: dict[str, type[EngineError]] = {
    error.__name__: error
    for error in (
        CheckpointError,
        EngineFailed,
        GenerationFailed,
        InputIdle,
        RequestTooLarge,
        SlowConsumer,
        TextTooLong,
        Unsupported,
    )
}


class Open(msgspec.Struct, frozen=True):
    """Queue a speech, under the number of the message."""

    model: str
    request: SpeechRequest
    arrived: float


class Text(msgspec.Struct, frozen=True):
    """Append text."""

    text: str
    came: float


class Flush(msgspec.Struct, frozen=True):
    """End a segment."""

    mark: str
    came: float


class End(msgspec.Struct, frozen=True):
    """End the text."""

    came: float


class Cancel(msgspec.Struct, frozen=True):
    """Stop; `Finished` follows."""


class Close(msgspec.Struct, frozen=True):
    """Drop the speech; nothing more is read."""


class Taken(msgspec.Struct, frozen=True):
    """The caller has taken the oldest chunk."""

    ready: float
    asked: float
    taken: float


class Check(msgspec.Struct, frozen=True):
    """Question: the refusal of a request."""

    model: str
    request: SpeechRequest


class Clone(msgspec.Struct, frozen=True):
    """Question: the voice of a recording."""

    model: str
    reference: Reference


class Prime(msgspec.Struct, frozen=True):
    """Prime the codec with a voice."""

    model: str
    voice: Voice


class QueueWait(msgspec.Struct, frozen=True):
    """Question: the expected wait of a tenant."""

    model: str
    tenant: str


class Model(msgspec.Struct, frozen=True):
    """A checkpoint of the process.

    With room for `slots` speeches plus `queue`.
    """

    card: ModelCard
    defaults: Sampling
    slots: int
    queue: int


class Models(msgspec.Struct, frozen=True):
    """First message of a process; `characters`: limit of a text."""

    models: tuple[Model, ...]
    characters: int


class Load(msgspec.Struct, frozen=True):
    """Open speeches by model.

    `opened`: `Open` messages of this client so far, which the counts include. `accepting`: whether new speeches may
    come.
    """

    speeches: dict[str, int]
    opened: int
    accepting: bool


class TextCame(msgspec.Struct, frozen=True):
    """When the text allowed the first audio; precedes that."""

    came: float


class Wait(msgspec.Struct, frozen=True):
    """Reply to `QueueWait`, in seconds."""

    seconds: float


class Done(msgspec.Struct, frozen=True):
    """Reply without content, to `Check` or `Prime`."""


class Failure(msgspec.Struct, frozen=True):
    """An `EngineError`: a refusal, or a speech's end."""

    kind: str
    text: str
    field: str = ""
    reason: str = ""
    retry_after: float = 0.0

    @classmethod
    def of(cls, error: EngineError) -> "Failure":
        """Message of an error."""
        match error:
            case InvalidRequest():
                return cls("InvalidRequest", error.description, error.field, error.reason)
            case VoiceNotFound():
                return cls("VoiceNotFound", error.name)
            case Busy():
                return cls("Busy", "", retry_after=error.retry_after)
        return cls(type(error).__name__, str(error))

    def error(self) -> EngineError:
        """The error again; `EngineFailed` for unknown kinds."""
        match self.kind:
            case "InvalidRequest":
                return InvalidRequest(self.field, self.text, self.reason)
            case "VoiceNotFound":
                return VoiceNotFound(self.text)
            case "Busy":
                return Busy(self.retry_after)
        return _PLAIN.get(self.kind, EngineFailed)(self.text)


TYPES: tuple[type, ...] = (
    *(Open, Text, Flush, End, Cancel, Close, Taken),
    *(Check, Clone, Prime, QueueWait),
    *(Models, Load, Wait, Done, Failure, Voice),
    *(Started, TextCame, AudioChunk, SegmentDone, FlushDone, Notice, Finished),
)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    raise NotImplementedError(type(value))


def _array(kind: Any, value: Any) -> Any:
    dtype, shape, data = value
    return np.frombuffer(data, np.dtype(dtype)).reshape(shape)


class Coder:
    """Coder of messages of the given types."""

    def __init__(self, types: tuple[type, ...]) -> None:
        self._numbers = {kind: number for number, kind in enumerate(types)}
        self._encoder = msgspec.msgpack.Encoder(enc_hook=_plain)
        self._decoders: list[msgspec.msgpack.Decoder[Any]] = [
            msgspec.msgpack.Decoder(kind, dec_hook=_array) for kind in types
        ]

    def encode(self, message: object) -> tuple[int, bytes]:
        """Number of the message's type, with its body."""
        return self._numbers[type(message)], self._encoder.encode(message)

    def decode(self, kind: int, body: bytes) -> object:
        """The message; raises ValueError for a malformed one."""
        if kind >= len(self._decoders):
            raise ValueError(f"message of unknown type {kind}")
        try:
            return self._decoders[kind].decode(body)
        except msgspec.MsgspecError as error:
            raise ValueError(str(error)) from error
