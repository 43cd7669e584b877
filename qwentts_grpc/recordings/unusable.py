"""The error for a recording that cannot be used."""

from engine.api.errors import InvalidRequest

FIELD = "reference.audio"
DURATION = "REFERENCE_DURATION"


def unusable(why: str, reason: str = "FIELD_INVALID") -> InvalidRequest:
    """`why` goes on from the field's name: "is silent"."""
    return InvalidRequest(FIELD, why, reason)
