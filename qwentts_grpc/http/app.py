"""The application: routes, headers of every response."""

import re
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from qwentts_grpc.http import models, status, voices
from qwentts_grpc.http.bodies import MOST_LARGE
from qwentts_grpc.http.calls import Calls
from qwentts_grpc.http.errors import HANDLERS
from qwentts_grpc.http.guards import SameOrigin
from qwentts_grpc.http.live import live
from qwentts_grpc.http.page import page_routes
from qwentts_grpc.http.settings import Settings
from qwentts_grpc.http.speech import speech

REQUEST_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
ROUTES: tuple[BaseRoute, ...] = (
    Route("/v1/audio/speech", speech, methods=["POST"]),
    Route("/v1/audio/voices", voices.voices, methods=["GET"]),
    Route("/v1/audio/voices", voices.create_voice, methods=["POST"]),
    Route("/v1/audio/voices/{name}", voices.delete_voice, methods=["DELETE"]),
    Route("/v1/models", models.models),
    Route("/v1/models/{name:path}", models.model),
    Route("/livez", status.livez),
    Route("/healthz", status.healthz),
    Route("/status", status.status),
    WebSocketRoute("/live", live),
)


def make_app(settings: Settings) -> Starlette:
    """The application for one server.

    It closes the client at its end.
    """

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with settings.client:
            yield

    app = Starlette(
        routes=[*ROUTES, *(page_routes() if settings.page else ())],
        middleware=_middleware(settings),
        exception_handlers=HANDLERS,
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.settings, app.state.calls = settings, Calls(settings.max_calls)
    app.state.large_bodies = Calls(MOST_LARGE)
    return app


def _middleware(settings: Settings) -> list[Middleware]:
    guards = [Middleware(RequestId), Middleware(SameOrigin, settings.host, settings.origins)]
    if not settings.origins:
        return guards
    methods, headers = ("GET", "POST", "DELETE"), ("authorization", "content-type")
    return [
        *guards,
        Middleware(CORSMiddleware, allow_origins=settings.origins, allow_methods=methods, allow_headers=headers),
    ]


class RequestId:
    """Id for each request, the caller's own if any."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                ours = [(b"x-request-id", request_id.encode()), (b"x-content-type-options", b"nosniff")]
                message["headers"] = [*message.get("headers", ()), *ours]
            await send(message)

        await self._app(scope, receive, named)
