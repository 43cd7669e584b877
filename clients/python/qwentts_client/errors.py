"""Errors of failed calls.

gRPC's own error, with the server's details decoded.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import grpc

from qwentts_client.status import FAILED_WRITE, FinalStatus
from qwentts_client.targets import Target, spoken

Code = grpc.StatusCode

# The usual mapping of google.rpc.Code.
HTTP_STATUS = {
    Code.CANCELLED: 499,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.UNAUTHENTICATED: 401,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
}
BROKEN = (FAILED_WRITE, "Received RST_STREAM", "Stream removed")  # texts of gRPC, not of a server
UNCLEAR = ("Socket closed", "Connection reset", "Connection refused")  # possibly TLS on one side alone


class TTSError(grpc.aio.AioRpcError):
    """A failed call: gRPC's `code()`, `details()`, decoded fields.

    reason: stable word for the cause, such as "VOICE_NOT_FOUND"; empty without a response of a server.
    retry_after: seconds after which to try again, None where the server states none.
    request_id: the id in the server's log; empty without a response of a server.
    fields: names of the request's wrong fields.
    """

    def __init__(self, error: grpc.aio.AioRpcError, code: Code | None = None, details: str | None = None) -> None:
        super().__init__(
            code or error.code(),
            error.initial_metadata(),
            error.trailing_metadata(),
            error.details() if details is None else details,
            error.debug_error_string(),
        )
        self.reason = ""
        self.retry_after: float | None = None
        self.request_id = ""
        self.fields: list[str] = []
        self._decode()

    @property
    def answered(self) -> bool:
        """Whether the error is the server's own, not the network's."""
        return bool(self.reason)

    @property
    def http_status(self) -> int:
        """The equivalent HTTP status."""
        return HTTP_STATUS.get(self.code(), 500)

    def __str__(self) -> str:
        known = [f"{name} {value}" for name, value in (("reason", self.reason), ("request", self.request_id)) if value]
        return f"{self.code().name}: {self.details()}" + (f" ({', '.join(known)})" if known else "")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return TTSError, (grpc.aio.AioRpcError(*super().__reduce__()[1]),)

    def _decode(self) -> None:
        packed = dict(self.trailing_metadata() or ()).get("grpc-status-details-bin")
        if packed is None:
            return
        from google.rpc import error_details_pb2, status_pb2  # seldom needed

        kinds: dict[str, Callable[[Any], None]] = {
            "ErrorInfo": self._take_reason,
            "RetryInfo": self._take_retry,
            "RequestInfo": self._take_request,
            "BadRequest": self._take_fields,
        }
        for detail in status_pb2.Status.FromString(bytes(packed)).details:
            name = detail.TypeName().rpartition(".")[2]
            if name in kinds:
                kinds[name](getattr(error_details_pb2, name).FromString(detail.value))

    def _take_reason(self, info: Any) -> None:
        self.reason = info.reason

    def _take_retry(self, info: Any) -> None:
        self.retry_after = info.retry_delay.ToNanoseconds() / 1e9

    def _take_request(self, info: Any) -> None:
        self.request_id = info.request_id

    def _take_fields(self, info: Any) -> None:
        self.fields = [violation.field for violation in info.field_violations]


class TextSourceError(RuntimeError):
    """A cancelled or prematurely stopped text source.

    It was cancelled, or raised StopIteration or StopAsyncIteration.
    The cause is what it raised.
    """


async def decoded(error: grpc.aio.AioRpcError, status: FinalStatus, target: Target) -> TTSError:
    """`error` as a TTSError, with explanation.

    `status`: the server's, where grpcio hides it.
    """
    error = await status.of(error)
    failure = TTSError(error)
    if failure.code() in (Code.INTERNAL, Code.UNKNOWN) and (error.details() or "").startswith(BROKEN):
        return TTSError(error, Code.UNAVAILABLE, f"the connection to {target.name} broke: {error.details()}")
    if failure.code() is Code.UNAVAILABLE and not failure.answered:
        return TTSError(error, Code.UNAVAILABLE, await _explained(error.details() or "", target))
    return failure


async def _explained(details: str, target: Target) -> str:
    """gRPC's message on a failed connection, made helpful."""
    where, details = f"the server at {target.name}", unquote(details)
    if target.proxy:
        return f"no server answers at {target.name} by the proxy {target.proxy} ({target.proxy_variable}): {details}"
    if "Hostname Verification" in details:
        return f"the certificate of {where} is for another name: {details}"
    if "WRONG_VERSION_NUMBER" not in details and "handshake failed" in details:
        return f"{where} has a certificate that this client does not trust: {details}"
    # The message is about the last address tried, and a name may have one without a listener.
    speaks = await spoken(target) if any(words in details for words in UNCLEAR) else ""
    if target.tls and (speaks == "plaintext" or "WRONG_VERSION_NUMBER" in details):
        return f"{where} speaks plaintext, and this client TLS: {details}"
    if target.tls and (speaks == "tls" or "Socket closed" in details):
        why = "its certificate's name or issuer, or no client certificate"
        return f"{where} and this client do not trust each other ({why}): {details}"
    if speaks == "tls":
        return f"{where} speaks TLS, and this client plaintext: {details}"
    return f"no server answers at {target.name}: {details}"
