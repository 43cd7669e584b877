"""The error for an unusable recording."""

from engine.api.errors import InvalidRequest

FIELD = "reference.audio"
DURATION = "REFERENCE_DURATION"


def unusable(why: str, reason: str = "FIELD_INVALID") -> InvalidRequest:
    """`why` continues the field's name: "is silent"."""
    return InvalidRequest(FIELD, why, reason)
