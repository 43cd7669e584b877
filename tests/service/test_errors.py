"""Every reason of the engine leaves with the agreed status and details, and in less than 8 KiB."""

import inspect

import pytest
from google.protobuf.any_pb2 import Any
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode

from engine.api import errors as engine_errors
from engine.api.errors import Busy, EngineError, InvalidRequest, TextTooLong, VoiceNotFound
from qwentts_grpc.wire import errors as service_errors
from qwentts_grpc.wire.errors import (
    DrainAborted,
    Internal,
    NotServing,
    OutOfTime,
    StorageFull,
    VoiceExists,
    VoicesFull,
)
from qwentts_grpc.wire.status import TABLE, Refusal, refusal

BAD_REQUEST, RETRY = error_details_pb2.BadRequest, error_details_pb2.RetryInfo

AGREED = [
    (InvalidRequest("config.sampling.top_p", "is odd"), StatusCode.INVALID_ARGUMENT, "FIELD_INVALID", "BadRequest"),
    (
        InvalidRequest("config", "twice", "CONFIG_REPEATED"),
        StatusCode.INVALID_ARGUMENT,
        "CONFIG_REPEATED",
        "BadRequest",
    ),
    (InvalidRequest("text", "none", "TEXT_EMPTY"), StatusCode.INVALID_ARGUMENT, "TEXT_EMPTY", "BadRequest"),
    (TextTooLong("too long"), StatusCode.OUT_OF_RANGE, "TEXT_TOO_LONG", "BadRequest"),
    (VoiceNotFound("bob"), StatusCode.NOT_FOUND, "VOICE_NOT_FOUND", "ResourceInfo"),
    (engine_errors.Unsupported("no"), StatusCode.FAILED_PRECONDITION, "MODEL_CAPABILITY", "PreconditionFailure"),
    (Busy(0.25), StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL", "RetryInfo"),
    (Busy(0.25), StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL", "QuotaFailure"),
    (engine_errors.RequestTooLarge("no"), StatusCode.RESOURCE_EXHAUSTED, "REQUEST_TOO_LARGE", "RequestInfo"),
    (NotServing("STARTING", "soon"), StatusCode.UNAVAILABLE, "STARTING", "RetryInfo"),
    (NotServing("DRAINING", "late"), StatusCode.UNAVAILABLE, "DRAINING", "RetryInfo"),
    (DrainAborted(), StatusCode.UNAVAILABLE, "DRAINING", "RetryInfo"),
    (engine_errors.EngineFailed("dead"), StatusCode.UNAVAILABLE, "ENGINE_FAILED", "RetryInfo"),
    (engine_errors.SlowConsumer("slow"), StatusCode.ABORTED, "SLOW_CONSUMER", "RequestInfo"),
    (engine_errors.InputIdle("idle"), StatusCode.ABORTED, "INPUT_IDLE", "RequestInfo"),
    (engine_errors.GenerationFailed("nan"), StatusCode.INTERNAL, "GENERATION_FAILED", "RequestInfo"),
    (OutOfTime(1.5), StatusCode.DEADLINE_EXCEEDED, "DEADLINE", "RequestInfo"),
    (VoiceExists("v"), StatusCode.ALREADY_EXISTS, "VOICE_EXISTS", "ResourceInfo"),
    (VoicesFull("full"), StatusCode.RESOURCE_EXHAUSTED, "VOICES_FULL", "QuotaFailure"),
    (StorageFull(), StatusCode.RESOURCE_EXHAUSTED, "STORAGE_FULL", "RetryInfo"),
    (Internal(), StatusCode.INTERNAL, "INTERNAL", "RequestInfo"),
]


def details(refused: Refusal) -> dict[str, Any]:
    status = status_pb2.Status.FromString(dict(refused.trailers)["grpc-status-details-bin"])
    assert status.message == refused.message
    return {detail.TypeName().rpartition(".")[2]: detail for detail in status.details}


@pytest.mark.parametrize(("error", "code", "reason", "detail"), AGREED)
def test_reason_code_and_details_are_as_agreed(error: EngineError, code: StatusCode, reason: str, detail: str) -> None:
    refused = refusal(error, "id-1")
    found = details(refused)
    info, request = error_details_pb2.ErrorInfo(), error_details_pb2.RequestInfo()
    assert found["ErrorInfo"].Unpack(info) and found["RequestInfo"].Unpack(request)
    assert (refused.code, info.reason, info.domain) == (code, reason, "qwentts")
    assert request.request_id == "id-1"
    assert detail in found


def test_a_full_queue_says_when_to_try_again() -> None:
    refused = refusal(Busy(0.25), "")
    retry = RETRY()
    assert details(refused)["RetryInfo"].Unpack(retry)
    assert retry.retry_delay.ToMilliseconds() == 250
    assert dict(refused.trailers)["grpc-retry-pushback-ms"] == "250"


def test_what_can_never_succeed_forbids_a_retry() -> None:
    refused = refusal(engine_errors.RequestTooLarge("no"), "")
    assert dict(refused.trailers)["grpc-retry-pushback-ms"] == "-1"


def test_a_bad_field_is_named() -> None:
    bad = BAD_REQUEST()
    assert details(refusal(InvalidRequest("config.voice", "is odd"), ""))["BadRequest"].Unpack(bad)
    assert [(v.field, v.description) for v in bad.field_violations] == [("config.voice", "is odd")]


@pytest.mark.parametrize(
    "error", [VoiceNotFound("ы" * 100_000, ["ы" * 190] * 2), InvalidRequest("voice", "ы" * 100_000)]
)
def test_what_callers_write_cannot_burst_the_metadata(error: EngineError) -> None:
    refused = refusal(error, "x" * 128)
    escaped = 3 * len(refused.message.encode())  # grpc-message is percent-encoded
    assert escaped + sum(len(key) + len(value) for key, value in refused.trailers) * 4 / 3 < 8_192


def test_every_error_is_in_the_table() -> None:
    modules = engine_errors, service_errors
    classes = [value for module in modules for _, value in inspect.getmembers(module, inspect.isclass)]
    at_start = {engine_errors.EngineError, engine_errors.CheckpointError}  # neither meets a call
    reasons = {cls.reason for cls in classes if issubclass(cls, EngineError) and cls not in at_start}
    assert reasons - {"ENGINE_ERROR"} <= set(TABLE)  # InvalidRequest sets its reason when it is made


def test_an_unknown_reason_is_internal_and_says_nothing() -> None:
    error = EngineError("a secret")
    refused = refusal(error, "")
    assert refused.code is StatusCode.INTERNAL
    assert "secret" not in refused.message


@pytest.mark.parametrize(
    ("known", "end"),
    [
        ([], "is not known"),
        (["joe"], "is not known; there are joe"),
        (["slt", "joe", "slt", "Jo"], "is not known; there are Jo, joe, slt"),
        ([f"voice {number:02}" for number in range(99)], " voice 19, and 79 more"),
        (["x" * 256], "is not known"),
    ],
)
def test_some_of_the_voices_are_listed(known: list[str], end: str) -> None:
    assert str(VoiceNotFound("jo", known)).endswith(end)
