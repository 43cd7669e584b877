"""Errors in OpenAI's shape."""

import logging
import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from qwentts_client import TTSError

RETRY_AFTER = 1.0  # seconds; where the server states none
CODES = {401: "invalid_api_key", 429: "rate_limit_exceeded"}  # OpenAI's own; the server's reason is in the message
PARAMS = {  # the contract's fields, as this body names them
    "text": "input",
    "audio_format": "response_format",
    "reference": "ref_audio",
    "sampling": "seed",
}

log = logging.getLogger(__name__)


class RefusedError(Exception):
    """A request that cannot be served.

    `param`: the field at fault. `code`: a stable word. `retry_after`: seconds.
    """

    def __init__(
        self, status: int, message: str, param: str | None = None, code: str | None = None, retry: float | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code, self.retry_after = status, message, param, code, retry

    def body(self) -> dict[str, Any]:
        """The error object."""
        code = CODES.get(self.status, self.code)
        return {"error": {"message": self.message, "type": _type(self.status), "param": self.param, "code": code}}

    def headers(self) -> dict[str, str]:
        """Advice on another try."""
        if self.retry_after is not None:
            milliseconds = max(1, round(1_000 * self.retry_after))
            return {"retry-after": str(math.ceil(milliseconds / 1_000)), "retry-after-ms": str(milliseconds)}
        return {"x-should-retry": "false"} if self.status == HTTPStatus.TOO_MANY_REQUESTS else {}


def refused(error: TTSError) -> RefusedError:
    """A failed call of the server as a refusal."""
    status, retry = error.http_status, error.retry_after
    if _param(error) == "model" and error.reason == "FIELD_INVALID":
        return RefusedError(HTTPStatus.NOT_FOUND, _message(error), "model", "model_not_found")
    if error.reason == "REQUEST_TOO_LARGE":
        status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        retry = retry or RETRY_AFTER
    if not error.answered and status >= 500:  # its text is of addresses, which are no caller's business
        log.warning("%s", error)
        return RefusedError(status, _unanswered(status), None, None, retry)
    return RefusedError(status, _message(error) or status_phrase(status), _param(error), _code(error), retry)


def unreachable(error: OSError) -> RefusedError:
    """A server that cannot be reached, as a refusal."""
    log.warning("%s: %s", type(error).__name__, error)
    return RefusedError(503, _unanswered(503), retry=RETRY_AFTER)


def unusable(error: Exception) -> RefusedError:
    """A value that the contract cannot hold, as a refusal."""
    return RefusedError(HTTPStatus.BAD_REQUEST, f"unusable: {error}", code="invalid_value")


def status_phrase(status: int) -> str:
    """The status in words."""
    return HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else f"HTTP {status}"


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    return JSONResponse(error.body(), error.status, error.headers())


async def _failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, TTSError)
    return await _refused(request, refused(error))


async def _unreachable(request: Request, error: Exception) -> Response:
    assert isinstance(error, OSError)
    return await _refused(request, unreachable(error))


async def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = status_phrase(error.status_code)
    return JSONResponse(RefusedError(error.status_code, message).body(), error.status_code, error.headers)


async def _broken(request: Request, _: Exception) -> Response:
    return await _refused(request, RefusedError(500, "internal error"))


HANDLERS: Mapping[Any, Any] = {
    RefusedError: _refused,
    TTSError: _failed,
    OSError: _unreachable,
    HTTPException: _http,
    Exception: _broken,
}


def _type(status: int) -> str:
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return "rate_limit_error"
    return "invalid_request_error" if status < 500 else "server_error"


def _unanswered(status: int) -> str:
    if status == HTTPStatus.GATEWAY_TIMEOUT:
        return "the speech took too long"
    return "the speech server cannot be reached" if status == 503 else "the speech server failed"


def _message(error: TTSError) -> str:
    return _bare(error.details() or "")


def _bare(name: str) -> str:
    """Name of a field without its message's."""
    return name.removeprefix("config.").removeprefix("spec.")


def _param(error: TTSError) -> str | None:
    if not error.fields:
        return "voice" if error.reason == "VOICE_NOT_FOUND" else None
    field = _bare(error.fields[0])
    return PARAMS.get(field.partition(".")[0], field)


def _code(error: TTSError) -> str | None:
    return error.reason.lower() or None
