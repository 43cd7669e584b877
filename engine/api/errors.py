"""The engine's typed errors: few, each with a stable `reason` that the service maps to one status code."""

from collections.abc import Iterable
from difflib import get_close_matches

LONGEST_QUOTE = 80  # characters of a name that is not known
LONGEST_LIST = 200  # characters of the names listed in its place


class EngineError(Exception):
    """Base of all errors raised by the engine; `reason` is a stable upper-case word for machines."""

    reason = "ENGINE_ERROR"


class InvalidRequest(EngineError):
    """The request can never succeed as written.

    `field` names the offending request field with dots ("sampling.top_p"); `reason` defaults to FIELD_INVALID.
    """

    def __init__(self, field: str, message: str, reason: str = "FIELD_INVALID") -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.description = message
        self.reason = reason


class VoiceNotFound(EngineError):
    """No built-in or created voice has this name; `known` are names that there are."""

    reason = "VOICE_NOT_FOUND"

    def __init__(self, name: str, known: Iterable[str] = ()) -> None:
        super().__init__(f"voice {name[:LONGEST_QUOTE]!r} is not known{_some(name, list(known))}")
        self.name = name


class Unsupported(EngineError):
    """The loaded checkpoint cannot do this (a clone on a custom-voice checkpoint, say)."""

    reason = "MODEL_CAPABILITY"


class TextTooLong(EngineError):
    """The text of one speech is over the limit of characters."""

    reason = "TEXT_TOO_LONG"


class Busy(EngineError):
    """The queue is full; `retry_after` is a hint in seconds."""

    reason = "QUEUE_FULL"

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"the queue is full; try again in {retry_after:.2f} s")
        self.retry_after = retry_after


class RequestTooLarge(EngineError):
    """The block pool could never hold this speech, even alone."""

    reason = "REQUEST_TOO_LARGE"


class EngineFailed(EngineError):
    """The engine has stopped after a fault that was not one speech's own."""

    reason = "ENGINE_FAILED"


class GenerationFailed(EngineError):
    """This speech alone failed inside the model (a value that is not finite, say)."""

    reason = "GENERATION_FAILED"


class InputIdle(EngineError):
    """No text came for `input_idle_timeout` while the speech waited for it."""

    reason = "INPUT_IDLE"


class SlowConsumer(EngineError):
    """The caller did not take audio for `slow_consumer_timeout`."""

    reason = "SLOW_CONSUMER"


class CheckpointError(EngineError):
    """A checkpoint folder is missing, incomplete or not of this architecture; the message is one clear line."""

    reason = "CHECKPOINT"


def _some(name: str, known: list[str]) -> str:
    """The end of a message about `name`: some names that are known, those like it first."""
    close = get_close_matches(name.casefold()[:LONGEST_QUOTE], [other.casefold() for other in known])
    ordered = sorted(set(known), key=lambda other: (other.casefold() not in close, other.casefold(), other))
    listed = ""
    for count, other in enumerate(ordered):
        if len(listed) + len(other) > LONGEST_LIST:
            return f"; there are {listed}and {len(ordered) - count} more" if count else ""
        listed += f"{other}, "
    return f"; there are {listed.removesuffix(', ')}" if listed else ""
