"""Request bodies, bounded in size, in time."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import ExitStack
from typing import Any

from python_multipart.exceptions import FormParserError
from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from qwentts_grpc.http.errors import RefusedError

LONGEST_JSON = 16 * 2**20  # bytes: a recording of 10 MiB in base64, a text beside it
LONGEST_FORM = 11 * 2**20
LONGEST_FIELD = 2**16
MOST_FIELDS = 16
SMALL = 2**18  # bytes; larger ones are received a few at once
MOST_LARGE = 16
BODY_TIMEOUT = 60.0  # seconds


async def json_object(request: Request) -> dict[str, Any]:
    """The body, a JSON object; raises `RefusedError`."""
    try:
        found = json.loads(b"".join([chunk async for chunk in _bounded(request, LONGEST_JSON)]))
    except (ValueError, RecursionError):  # UnicodeDecodeError among them
        raise RefusedError(400, "the body is not JSON", code="invalid_json") from None
    if not isinstance(found, dict):
        raise RefusedError(400, "the body is not a JSON object", code="invalid_json")
    return found


async def form(request: Request) -> FormData:
    """The body, multipart; raises `RefusedError`.

    Its files are to be closed by the caller.
    """
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise RefusedError(415, "the body must be multipart/form-data")
    limits: dict[str, int] = {"max_files": 1, "max_fields": MOST_FIELDS, "max_part_size": LONGEST_FIELD}
    try:
        return await MultiPartParser(request.headers, _bounded(request, LONGEST_FORM), **limits).parse()
    except (MultiPartException, FormParserError, UnicodeError, KeyError, LookupError):
        raise RefusedError(400, "the body is not a form of one file with a few short fields") from None


async def _bounded(request: Request, most: int) -> AsyncGenerator[bytes, None]:
    total = 0
    too_large = RefusedError(413, f"the body has more than {most:,} bytes")
    if int(request.headers.get("content-length", "0")) > most:
        raise too_large
    try:
        with ExitStack() as place:
            async with asyncio.timeout(BODY_TIMEOUT):
                async for chunk in request.stream():
                    if total <= SMALL < total + len(chunk):
                        place.enter_context(request.app.state.large_bodies.open())
                    total += len(chunk)
                    if total > most:
                        raise too_large
                    yield chunk
    except TimeoutError:
        raise RefusedError(408, "the body did not come in time") from None
    except ClientDisconnect:
        raise RefusedError(400, "the caller left") from None
