"""A client that calls with the caller's own token."""

import json

from starlette.requests import HTTPConnection

from qwentts_client import AsyncClient
from qwentts_grpc.http.errors import RefusedError
from qwentts_grpc.http.settings import Settings

# What is refused is told at once, with the time to wait: a caller over HTTP has a policy of its own.
CHANNEL_OPTIONS = (("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})),)


def client_of(connection: HTTPConnection) -> AsyncClient:
    """The process's client, with the caller's bearer token.

    Without one the process's own. Raises `RefusedError` for another kind of authorization.
    """
    settings: Settings = connection.app.state.settings
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if scheme and scheme.lower() != "bearer":
        raise RefusedError(401, "the authorization is not a bearer token")
    return with_token(settings.client, token.strip())


def with_token(client: AsyncClient, token: str) -> AsyncClient:
    """`client` with another token; raises `RefusedError`."""
    if not token.isascii() or not (token + ".").isprintable():
        raise RefusedError(401, "the bearer token is not printable ASCII")
    return client.with_token(token) if token else client
