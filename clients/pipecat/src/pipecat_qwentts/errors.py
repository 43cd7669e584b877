"""Errors of the server, in Pipecat's categories."""

from __future__ import annotations

from dataclasses import dataclass

import grpc
from pipecat.frames.frames import ErrorFrame
from pipecat.utils.errors import ErrorCategory

from qwentts_client import TTSError

Code = grpc.StatusCode

# Authentication, authorization and invalid requests make Pipecat stop using a service until its settings change.
CATEGORIES = {
    Code.UNAUTHENTICATED: ErrorCategory.AUTHENTICATION,
    Code.PERMISSION_DENIED: ErrorCategory.AUTHORIZATION,
    Code.INVALID_ARGUMENT: ErrorCategory.INVALID_REQUEST,
    Code.NOT_FOUND: ErrorCategory.INVALID_REQUEST,
    Code.FAILED_PRECONDITION: ErrorCategory.INVALID_REQUEST,
    Code.UNIMPLEMENTED: ErrorCategory.INVALID_REQUEST,
    Code.OUT_OF_RANGE: ErrorCategory.APPLICATION,  # too much text in one turn
    Code.ABORTED: ErrorCategory.APPLICATION,  # the text stopped coming, or nobody took the audio
    Code.RESOURCE_EXHAUSTED: ErrorCategory.RATE_LIMIT,
    Code.UNAVAILABLE: ErrorCategory.CONNECTIVITY,
    Code.DEADLINE_EXCEEDED: ErrorCategory.CONNECTIVITY,
}


@dataclass
class TurnErrorFrame(ErrorFrame):
    """Error that ends a turn before its end."""


def turn_error(error: Exception) -> TurnErrorFrame:
    """The frame for `error`."""
    return TurnErrorFrame(error=str(error), exception=error, category=_category(error))


def _category(error: Exception) -> ErrorCategory:
    if isinstance(error, TTSError):
        return CATEGORIES.get(error.code(), ErrorCategory.SERVER)
    if isinstance(error, (TypeError, ValueError)):  # settings that no request can hold
        return ErrorCategory.INVALID_REQUEST
    return ErrorCategory.CONNECTIVITY if isinstance(error, OSError) else ErrorCategory.APPLICATION
