"""/v1/audio/voices: list, create, delete."""

from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from qwentts_client import Notice, Voice
from qwentts_client.v1 import tts_pb2
from qwentts_grpc.http.bodies import form
from qwentts_grpc.http.callers import client_of
from qwentts_grpc.http.errors import RefusedError, unusable

FILES = ("audio_sample", "audio", "file")
TRUE = ("true", "1", "yes", "on")


async def voices(request: Request) -> Response:
    """The caller's voices: as objects, as bare names."""
    found = await client_of(request).voices()
    names = [voice.name for voice in found]
    return JSONResponse({"object": "list", "data": [_facts(voice) for voice in found], "voices": names})


async def create_voice(request: Request) -> Response:
    """A voice of a recording: multipart, with OpenAI's fields.

    `audio_sample`, `name`, `consent`; also `transcript`, `description`, `replace`. Raises `RefusedError`, `TTSError`.
    """
    client, notices = client_of(request), list[Notice]()
    fields = await form(request)
    try:
        made = await client.create_voice(
            _text(fields, "name"), await _recording(fields), on_notice=notices.append, **_options(fields)
        )
    except (ValueError, TypeError) as error:
        raise unusable(error) from error
    finally:
        await fields.close()
    return JSONResponse({**_facts(made), "notices": [notice.message for notice in notices]})


async def delete_voice(request: Request) -> Response:
    """Delete a created voice; raises `TTSError`."""
    name = request.path_params["name"]
    await client_of(request).delete_voice(name)
    return JSONResponse({"id": name, "deleted": True, "object": "audio.voice.deleted"})


def _options(fields: FormData) -> dict[str, Any]:
    return {
        "transcript": _text(fields, "transcript") or _text(fields, "ref_text"),
        "description": _text(fields, "description"),
        "consent_reference": _text(fields, "consent"),
        "replace": _text(fields, "replace").lower() in TRUE,
    }


async def _recording(fields: FormData) -> bytes:
    for name in FILES:
        if isinstance(file := fields.get(name), UploadFile):
            return await file.read()
    raise RefusedError(400, "there is no recording", FILES[0], "missing_required_parameter")


def _text(fields: FormData, name: str) -> str:
    value = fields.get(name, "")
    if not isinstance(value, str):
        raise RefusedError(400, f"{name}: not a text", name, "invalid_value")
    return value


def _facts(voice: Voice) -> dict[str, Any]:
    """OpenAI's fields, then the server's."""
    return {
        "id": voice.name,
        "object": "audio.voice",
        "created_at": voice.create_time.seconds,
        "name": voice.name,
        "type": "audio_sample",
        "kind": tts_pb2.VoiceKind.Name(voice.kind).removeprefix("VOICE_KIND_").lower(),
        "model": voice.model,
        "languages": list(voice.languages),
        "description": voice.description,
    }
