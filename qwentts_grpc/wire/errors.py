"""Errors of the service, beside the engine's.

`status.py` has a row for each.
"""

from engine.api.errors import Busy, EngineError


class NotServing(EngineError):
    """New calls are refused: STARTING, or DRAINING before a stop."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class DrainAborted(NotServing):
    """An open turn aborted at the end of the drain."""

    def __init__(self) -> None:
        super().__init__("DRAINING", "the server stopped before this turn had ended")


class OutOfTime(EngineError):
    """The deadline comes before any audio can: `needed` seconds."""

    reason = "DEADLINE"

    def __init__(self, needed: float) -> None:
        super().__init__(f"the deadline comes before any audio can: that takes some {needed:.2f} s now")


class Unauthenticated(EngineError):
    """Missing or unknown bearer token.

    The two cases are indistinguishable to the caller on purpose.
    """

    reason = "TOKEN_MISSING"

    def __init__(self) -> None:
        super().__init__("a known bearer token is needed")


class TenantLimit(EngineError):
    """The caller's tenant is at its limit."""

    reason = "TENANT_LIMIT"

    def __init__(self, held: int, what: str) -> None:
        super().__init__(f"this tenant is at its limit of {held} {what}")


class VoiceExists(EngineError):
    """A created voice with this name exists."""

    reason = "VOICE_EXISTS"

    def __init__(self, name: str) -> None:
        super().__init__(f"voice {name!r} exists")
        self.name = name


class VoicesFull(EngineError):
    """The owner, or the store, is at its voice limit."""

    reason = "VOICES_FULL"


class StorageFull(EngineError):
    """No room on the disk of created voices."""

    reason = "STORAGE_FULL"

    def __init__(self) -> None:
        super().__init__("the server has no room on its disk for another voice")


class VoiceForbidden(EngineError):
    """A shared voice, usable but not changeable by the caller.

    Sharing, replacing and deleting it need an admin.
    """

    reason = "VOICE_FORBIDDEN"

    def __init__(self, name: str) -> None:
        super().__init__(f"voice {name!r} is for all tenants: only an admin may make, replace or delete it")
        self.name = name


class RecordingDenied(EngineError):
    """A recording on the operator's deny list."""

    reason = "RECORDING_DENIED"

    def __init__(self) -> None:
        super().__init__("this recording may not be cloned here")


class TooManyCalls(EngineError):
    """The limit of open calls of this kind is reached.

    `subject`: owner of the limit, for the message.
    """

    reason = "TOO_MANY_CALLS"

    def __init__(self, subject: str, limit: int) -> None:
        super().__init__(f"{subject} is at its limit of {limit} open calls of this kind")


class CallRateLimit(Busy):
    """The tenant's call rate is exceeded; `retry_after` in seconds."""

    reason = "RATE_LIMIT"

    def __init__(self, retry_after: float) -> None:
        super().__init__(retry_after)
        self.args = (f"this tenant exceeds its call rate; try again in {retry_after:.2f} s",)


class CallTooOld(EngineError):
    """The call reached its age limit."""

    reason = "CALL_AGE"

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the call reached its limit of {seconds:g} s; open another one")


class Internal(EngineError):
    """A fault of the server; details only in its log."""

    reason = "INTERNAL"

    def __init__(self) -> None:
        super().__init__("internal error; the server's log has it under this request id")
