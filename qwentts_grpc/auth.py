"""Bearer tokens: a file says which callers the server knows."""

import hmac
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import grpc

from qwentts_grpc.calls import Call, Context, answering
from qwentts_grpc.errors import Unauthenticated
from qwentts_grpc.intercept import Handler
from qwentts_grpc.reading import heard_out

OPEN = "/grpc.health.v1.Health/"  # a load balancer has no token
SCHEME = "bearer"

Metadata = Iterable[tuple[str, str | bytes]]


@dataclass(frozen=True, slots=True)
class Token:
    """A known caller; of the secret only its digest is kept. `tenant` is empty where the file names none."""

    digest: bytes = field(repr=False)
    tenant: str


class Tokens:
    """The tokens of a file: on each line a secret and, after a blank, perhaps its tenant. `#` begins a comment line."""

    def __init__(self, path: Path) -> None:
        """Raises OSError where the file cannot be read or holds no token."""
        self._path = path
        self._known = read_tokens(path)

    def reload(self) -> None:
        """Read the file again; raises OSError, and then the tokens stay as they were."""
        self._known = read_tokens(self._path)

    def tenant(self, metadata: Metadata) -> str:
        """The tenant of the caller's token; raises `Unauthenticated` where there is none, or an unknown one."""
        scheme, _, secret = _authorization(metadata).partition(" ")
        digest = sha256(secret.strip().encode()).digest()
        # Every token is compared, each in constant time, so that the time taken tells nothing of any.
        found = [token for token in self._known if hmac.compare_digest(token.digest, digest)]
        if scheme.casefold() != SCHEME or not found:
            raise Unauthenticated
        return found[0].tenant


def read_tokens(path: Path) -> tuple[Token, ...]:
    """The tokens in a file; raises OSError where it cannot be read or holds none."""
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise OSError(f"cannot read tokens from {path}: {error}") from error
    filled = [words for words in lines if words and not words[0].startswith("#")]
    if not filled or any(len(words) > 2 for words in filled):
        raise OSError(f"{path} must hold a token on each line, and after it at most a tenant's name")
    return tuple(Token(sha256(secret.encode()).digest(), "".join(tenant)) for secret, *tenant in filled)


class Door(grpc.aio.ServerInterceptor):
    """Turns away callers without a token; `turned_away` is called for each."""

    def __init__(self, tokens: Tokens, turned_away: Callable[[], None]) -> None:
        self._tokens = tokens
        self._turned_away = turned_away

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """The call's own handler, or one that refuses it before any header and message."""
        method = handler_call_details.method
        if not method.startswith(OPEN):
            try:
                self._tokens.tenant(handler_call_details.invocation_metadata or ())
            except Unauthenticated:
                self._turned_away()
                return _refusing(method.rpartition("/")[2])
        return await continuation(handler_call_details)


def _refusing(method: str) -> Handler:
    """A handler for calls of every kind: as a stream it need not wait for a message."""

    async def refuse(requests: Any, context: Context) -> None:
        async with answering(Call(method, context)), heard_out(requests):
            raise Unauthenticated

    return grpc.stream_stream_rpc_method_handler(refuse)


def _authorization(metadata: Metadata) -> str:
    return next((value for key, value in metadata if key == "authorization" and isinstance(value, str)), "")
