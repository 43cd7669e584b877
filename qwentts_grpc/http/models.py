"""GET /v1/models."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from qwentts_client.v1 import tts_pb2
from qwentts_grpc.http.callers import client_of
from qwentts_grpc.http.errors import RefusedError


async def models(request: Request) -> Response:
    """The server's checkpoints, the default one first."""
    return JSONResponse({"object": "list", "data": await _models(request)})


async def model(request: Request) -> Response:
    """One checkpoint; raises `RefusedError`."""
    for found in await _models(request):
        if found["id"] == request.path_params["name"]:
            return JSONResponse(found)
    raise RefusedError(404, "no such model", "model", "model_not_found")


async def _models(request: Request) -> list[dict[str, Any]]:
    info = await client_of(request).server_info()
    return [_facts(model) for model in info.models]


def _facts(model: tts_pb2.ModelInfo) -> dict[str, Any]:
    """OpenAI's fields, then the model's capabilities."""
    return {
        "id": model.name,
        "object": "model",
        "created": 0,
        "owned_by": "qwentts-grpc",
        "kind": tts_pb2.ModelKind.Name(model.kind).removeprefix("MODEL_KIND_").lower(),
        "languages": list(model.languages),
        "instructions": model.instructions_supported,
    }
