"""Table of errors: status code, typed details, retry advice."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from engine.api.errors import Busy, EngineError, InvalidRequest, VoiceNotFound

DOMAIN = "qwentts"
PUSHBACK = "grpc-retry-pushback-ms"
LONGEST_MESSAGE = 400  # characters; details and trailers together must stay under 8 KiB of metadata
RETRY_ELSEWHERE = 1.0  # seconds; a hint for clients with a single known replica

Trailers = tuple[tuple[str, str | bytes], ...]
RpcMessage = Any  # a message of google.rpc, whose package has no types
Detail = Callable[[EngineError], RpcMessage]


class NotServing(EngineError):
    """New calls are refused: STARTING, or DRAINING before a stop."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Cut(NotServing):
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
        super().__init__(f"this tenant holds {held} {what}, which is all that it may now")


class VoiceExists(EngineError):
    """A created voice with this name exists."""

    reason = "VOICE_EXISTS"

    def __init__(self, name: str) -> None:
        super().__init__(f"voice {name!r} exists")
        self.name = name


class VoicesFull(EngineError):
    """The owner, or the store, is at its voice limit."""

    reason = "VOICES_FULL"


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
        super().__init__("this server clones no voice from this recording")


class TooManyCalls(EngineError):
    """The limit of open calls of this kind is reached.

    `whose`: subject of the limit, for the message.
    """

    reason = "TOO_MANY_CALLS"

    def __init__(self, whose: str, limit: int) -> None:
        super().__init__(f"{whose} has {limit} calls of this kind open, which is all that may be")


class CallRateLimit(Busy):
    """The tenant's call rate is exceeded; `retry_after` in seconds."""

    reason = "RATE_LIMIT"

    def __init__(self, retry_after: float) -> None:
        super().__init__(retry_after)
        self.args = (f"this tenant begins too many calls; try again in {retry_after:.2f} s",)


class CallTooOld(EngineError):
    """The call reached its age limit."""

    reason = "CALL_AGE"

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the call was open for {seconds:g} s, which is all that it may; open another one")


class Internal(EngineError):
    """A fault of the server; details only in its log."""

    reason = "INTERNAL"

    def __init__(self) -> None:
        super().__init__("internal error; the server's log has it under this request id")


@dataclass(frozen=True, slots=True)
class Rule:
    """Status, details and metric label of one reason.

    In metrics a call that is `rejected` counts under that label, any other by its `outcome`.
    """

    code: grpc.StatusCode
    rejected: str | None = None
    details: tuple[Detail, ...] = ()
    pushback: Callable[[EngineError], str] | None = None
    outcome: str = "failed"


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error in the form used to abort a call."""

    code: grpc.StatusCode
    message: str
    trailers: Trailers
    reason: str
    outcome: str
    rejected: str | None


def refusal(error: EngineError, request_id: str) -> Refusal:
    """Status, details, trailers of `error`; INTERNAL for unlisted reasons."""
    rule = TABLE.get(error.reason)
    if rule is None:
        return refusal(Internal(), request_id)
    message = str(error)[:LONGEST_MESSAGE]
    status = status_pb2.Status(code=_number(rule.code), message=message)
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)
    request = error_details_pb2.RequestInfo(request_id=request_id)
    for detail in (info, *(make(error) for make in rule.details), request):
        status.details.add().Pack(detail)
    trailers: Trailers = tuple(rpc_status.to_status(status).trailing_metadata)
    if rule.pushback is not None:
        trailers += ((PUSHBACK, rule.pushback(error)),)
    outcome = "rejected" if rule.rejected else rule.outcome
    return Refusal(rule.code, message, trailers, error.reason, outcome, rule.rejected)


def _number(code: grpc.StatusCode) -> int:
    return int(code_pb2.Code.Value(code.name))


def _bad_field(error: EngineError) -> RpcMessage:
    field, description = "text", str(error)
    if isinstance(error, InvalidRequest):
        field, description = error.field, error.description
    violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=description[:LONGEST_MESSAGE])
    return error_details_pb2.BadRequest(field_violations=[violation])


def _voice(error: EngineError) -> RpcMessage:
    name = error.name[:LONGEST_MESSAGE] if isinstance(error, VoiceNotFound | VoiceExists | VoiceForbidden) else ""
    return error_details_pb2.ResourceInfo(resource_type="qwentts.v1.Voice", resource_name=name)


def _capability(error: EngineError) -> RpcMessage:
    violation = error_details_pb2.PreconditionFailure.Violation(
        type=error.reason, subject="model", description=str(error)[:LONGEST_MESSAGE]
    )
    return error_details_pb2.PreconditionFailure(violations=[violation])


def _queue(error: EngineError) -> RpcMessage:
    violation = error_details_pb2.QuotaFailure.Violation(subject="queue", description="every place is taken")
    return error_details_pb2.QuotaFailure(violations=[violation])


def _store(error: EngineError) -> RpcMessage:
    violation = error_details_pb2.QuotaFailure.Violation(subject="voices", description=str(error))
    return error_details_pb2.QuotaFailure(violations=[violation])


def _tenant(error: EngineError) -> RpcMessage:
    violation = error_details_pb2.QuotaFailure.Violation(subject="tenant", description=str(error))
    return error_details_pb2.QuotaFailure(violations=[violation])


def _retry(error: EngineError) -> RpcMessage:
    delay = Duration()
    delay.FromMilliseconds(_retry_milliseconds(error))
    return error_details_pb2.RetryInfo(retry_delay=delay)


def _retry_milliseconds(error: EngineError) -> int:
    seconds = error.retry_after if isinstance(error, Busy) else RETRY_ELSEWHERE
    return max(1, round(seconds * 1000))


_INVALID = Rule(grpc.StatusCode.INVALID_ARGUMENT, "invalid", (_bad_field,))

TABLE: dict[str, Rule] = {
    "CONFIG_NOT_FIRST": _INVALID,
    "CONFIG_REPEATED": _INVALID,
    "FIELD_INVALID": _INVALID,
    "TEXT_EMPTY": _INVALID,
    "REFERENCE_DURATION": _INVALID,
    "TEXT_TOO_LONG": Rule(grpc.StatusCode.OUT_OF_RANGE, "text_too_long", (_bad_field,)),
    "VOICE_NOT_FOUND": Rule(grpc.StatusCode.NOT_FOUND, "not_found", (_voice,)),
    "VOICE_EXISTS": Rule(grpc.StatusCode.ALREADY_EXISTS, "exists", (_voice,)),
    "VOICE_FORBIDDEN": Rule(grpc.StatusCode.PERMISSION_DENIED, "forbidden", (_voice,)),
    "RECORDING_DENIED": Rule(grpc.StatusCode.PERMISSION_DENIED, "forbidden"),
    "CONSENT_MISSING": _INVALID,
    "VOICES_FULL": Rule(grpc.StatusCode.RESOURCE_EXHAUSTED, "voices_full", (_store,), lambda error: "-1"),
    "MODEL_CAPABILITY": Rule(grpc.StatusCode.FAILED_PRECONDITION, "unsupported", (_capability,)),
    "QUEUE_FULL": Rule(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "queue_full",
        (_retry, _queue),
        lambda error: str(_retry_milliseconds(error)),
    ),
    "TENANT_LIMIT": Rule(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "tenant_limit",
        (_retry, _tenant),
        lambda error: str(_retry_milliseconds(error)),
    ),
    "TOO_MANY_CALLS": Rule(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "too_many_calls",
        (_retry,),
        lambda error: str(_retry_milliseconds(error)),
    ),
    "RATE_LIMIT": Rule(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "rate_limit",
        (_retry,),
        lambda error: str(_retry_milliseconds(error)),
    ),
    "REQUEST_TOO_LARGE": Rule(grpc.StatusCode.RESOURCE_EXHAUSTED, "too_large", pushback=lambda error: "-1"),
    "TOKEN_MISSING": Rule(grpc.StatusCode.UNAUTHENTICATED, "unauthenticated"),
    "STARTING": Rule(grpc.StatusCode.UNAVAILABLE, "starting", (_retry,)),
    "DRAINING": Rule(grpc.StatusCode.UNAVAILABLE, "draining", (_retry,)),
    "ENGINE_FAILED": Rule(grpc.StatusCode.UNAVAILABLE, None, (_retry,)),
    "CALL_AGE": Rule(grpc.StatusCode.ABORTED, outcome="call_age"),
    "DEADLINE": Rule(grpc.StatusCode.DEADLINE_EXCEEDED, outcome="deadline"),
    "SLOW_CONSUMER": Rule(grpc.StatusCode.ABORTED, outcome="slow_consumer"),
    "INPUT_IDLE": Rule(grpc.StatusCode.ABORTED, outcome="input_idle"),
    "GENERATION_FAILED": Rule(grpc.StatusCode.INTERNAL),
    "INTERNAL": Rule(grpc.StatusCode.INTERNAL),
}

REJECTIONS = sorted({rule.rejected for rule in TABLE.values() if rule.rejected})
