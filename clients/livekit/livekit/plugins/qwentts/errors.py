"""Errors of the server as LiveKit's, which decide on retries."""

from __future__ import annotations

from livekit.agents import APIConnectionError, APIError, APIStatusError, APITimeoutError

from qwentts_client import TTSError


def api_error(error: TTSError) -> APIError:
    """LiveKit's error for `error`.

    What another attempt would not change is not retryable.
    """
    details = error.details() or ""
    if error.http_status == 504:
        return APITimeoutError(details)
    if error.http_status == 503:
        return APIConnectionError(details)
    return APIStatusError(details, status_code=error.http_status, request_id=error.request_id, body=error.reason)
