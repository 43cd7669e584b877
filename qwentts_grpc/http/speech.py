"""POST /v1/audio/speech."""

from starlette.requests import Request
from starlette.responses import Response

from qwentts_grpc.http.bodies import json_object
from qwentts_grpc.http.callers import client_of
from qwentts_grpc.http.delivery import SpeechResponse
from qwentts_grpc.http.fields import speech_fields
from qwentts_grpc.http.settings import Settings


async def speech(request: Request) -> Response:
    """The speech of a text; raises `RefusedError`, `TTSError`."""
    settings: Settings = request.app.state.settings
    client = client_of(request)
    fields = speech_fields(await json_object(request), settings.aliases)
    return SpeechResponse(client, fields, request.app.state.calls, settings.max_call_seconds)
