"""Table of errors: status code, typed details, retry advice."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from engine.api.errors import Busy, EngineError, InvalidRequest, VoiceNotFound
from qwentts_grpc.wire.errors import Internal, VoiceExists, VoiceForbidden

DOMAIN = "qwentts"
PUSHBACK = "grpc-retry-pushback-ms"
LONGEST_MESSAGE = 400  # characters; details and trailers together must stay under 8 KiB of metadata
RETRY_ELSEWHERE = 1.0  # seconds; a hint for clients with a single known replica

Trailers = tuple[tuple[str, str | bytes], ...]
RpcMessage = Any  # a message of google.rpc, whose package has no types
Detail = Callable[[EngineError], RpcMessage]


@dataclass(frozen=True, slots=True)
class Rule:
    """Status, details, metric label of one reason.

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


def _quota(subject: str, description: str = "") -> Detail:
    """A quota detail; the description defaults to the error's text."""

    def detail(error: EngineError) -> RpcMessage:
        violation = error_details_pb2.QuotaFailure.Violation(subject=subject, description=description or str(error))
        return error_details_pb2.QuotaFailure(violations=[violation])

    return detail


def _retry(error: EngineError) -> RpcMessage:
    delay = Duration()
    delay.FromMilliseconds(_retry_milliseconds(error))
    return error_details_pb2.RetryInfo(retry_delay=delay)


def _retry_milliseconds(error: EngineError) -> int:
    seconds = error.retry_after if isinstance(error, Busy) else RETRY_ELSEWHERE
    return max(1, round(seconds * 1000))


def _exhausted(rejected: str, *details: Detail) -> Rule:
    """RESOURCE_EXHAUSTED, with the time after which to try again."""
    code, details = grpc.StatusCode.RESOURCE_EXHAUSTED, (_retry, *details)
    return Rule(code, rejected, details, lambda error: str(_retry_milliseconds(error)))


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
    "VOICES_FULL": Rule(grpc.StatusCode.RESOURCE_EXHAUSTED, "voices_full", (_quota("voices"),), lambda error: "-1"),
    "STORAGE_FULL": _exhausted("storage_full"),
    "MODEL_CAPABILITY": Rule(grpc.StatusCode.FAILED_PRECONDITION, "unsupported", (_capability,)),
    "QUEUE_FULL": _exhausted("queue_full", _quota("queue", "the queue is full")),
    "TENANT_LIMIT": _exhausted("tenant_limit", _quota("tenant")),
    "TOO_MANY_CALLS": _exhausted("too_many_calls"),
    "RATE_LIMIT": _exhausted("rate_limit"),
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
