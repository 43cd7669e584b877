"""/livez, /healthz, /status."""

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from qwentts_client import TTSError
from qwentts_grpc.http.callers import client_of
from qwentts_grpc.http.calls import Calls
from qwentts_grpc.http.settings import Settings

HEALTH_TIMEOUT = 2.0  # seconds


async def livez(_: Request) -> Response:
    """Whether this process answers."""
    return PlainTextResponse("ok\n")


async def healthz(request: Request) -> Response:
    """Whether the server behind serves too; 503 where not."""
    ready = await _health(request.app.state.settings) == "SERVING"
    return PlainTextResponse("ok\n" if ready else "no\n", 200 if ready else 503)


async def status(request: Request) -> Response:
    """Load of this process, limits of the server; raises `TTSError`."""
    settings: Settings = request.app.state.settings
    calls: Calls = request.app.state.calls
    info = await client_of(request).server_info()
    return JSONResponse(
        {
            "health": await _health(settings),
            "version": info.server_version,
            "speaking": calls.speaking,
            "waiting": calls.waiting,
            "max_speaking": info.max_concurrent_streams,
            "max_characters": info.max_text_characters,
            "voice_creation": info.voice_creation_enabled,
            "consent_required": info.consent_required,
            "max_recording_bytes": info.max_recording_bytes,
            "max_recording_seconds": info.max_recording.seconds,
        }
    )


async def _health(settings: Settings) -> str:
    try:
        return await settings.client.health(timeout=HEALTH_TIMEOUT)
    except (TTSError, OSError):
        return "UNREACHABLE"
