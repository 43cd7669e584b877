"""Typed errors of the engine.

Each has a stable `reason` that the service maps to one status code.
"""

from collections.abc import Iterable
from difflib import get_close_matches

LONGEST_QUOTE = 80  # characters of an unknown name in a message
LONGEST_LIST = 200  # characters of the existing names in a message


class EngineError(Exception):
    """Base of all errors raised by the engine.

    `reason`: a stable upper-case word for machines.
    """

    reason = "ENGINE_ERROR"


class InvalidRequest(EngineError):
    """A request that can never succeed as written.

    `field` names the offending request field with dots ("sampling.top_p"); `reason` defaults to FIELD_INVALID.
    """

    def __init__(self, field: str, message: str, reason: str = "FIELD_INVALID") -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.description = message
        self.reason = reason


class VoiceNotFound(EngineError):
    """No built-in or created voice has this name.

    `known`: existing names, of which the message lists some.
    """

    reason = "VOICE_NOT_FOUND"

    def __init__(self, name: str, known: Iterable[str] = ()) -> None:
        super().__init__(f"voice {name[:LONGEST_QUOTE]!r} is not known{_some(name, list(known))}")
        self.name = name


class Unsupported(EngineError):
    """The loaded checkpoint lacks this capability.

    Cloning on a custom-voice checkpoint, say.
    """

    reason = "MODEL_CAPABILITY"


class TextTooLong(EngineError):
    """The text of one speech exceeds the character limit."""

    reason = "TEXT_TOO_LONG"


class Busy(EngineError):
    """The queue is full.

    `retry_after`: a hint in seconds.
    """

    reason = "QUEUE_FULL"

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"the queue is full; try again in {retry_after:.2f} s")
        self.retry_after = retry_after


class RequestTooLarge(EngineError):
    """The block pool can never hold this speech, even alone."""

    reason = "REQUEST_TOO_LARGE"


class EngineFailed(EngineError):
    """The engine has stopped after a fault of its own."""

    reason = "ENGINE_FAILED"


class GenerationFailed(EngineError):
    """This speech alone failed inside the model.

    A value that is not finite, say.
    """

    reason = "GENERATION_FAILED"


class InputIdle(EngineError):
    """No text came within `input_idle_timeout`."""

    reason = "INPUT_IDLE"


class SlowConsumer(EngineError):
    """The caller took no audio for `slow_consumer_timeout`."""

    reason = "SLOW_CONSUMER"


class CheckpointError(EngineError):
    """A checkpoint folder is missing, incomplete or foreign.

    The message is one clear line.
    """

    reason = "CHECKPOINT"


def _some(name: str, known: list[str]) -> str:
    """End of a message: existing names, those like `name` first."""
    close = get_close_matches(name.casefold()[:LONGEST_QUOTE], [other.casefold() for other in known])
    ordered = sorted(set(known), key=lambda other: (other.casefold() not in close, other.casefold(), other))
    listed = ""
    for count, other in enumerate(ordered):
        if len(listed) + len(other) > LONGEST_LIST:
            return f"; there are {listed}and {len(ordered) - count} more" if count else ""
        listed += f"{other}, "
    return f"; there are {listed.removesuffix(', ')}" if listed else ""
