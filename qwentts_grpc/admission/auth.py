"""Authentication: bearer tokens from a file, or client certificates."""

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import grpc

from qwentts_grpc.admission.refusals import Refusals
from qwentts_grpc.admission.tenants import Access
from qwentts_grpc.host import unsafe_settings
from qwentts_grpc.rpc.call import STATUS_TIMEOUT, Call, Context
from qwentts_grpc.rpc.interceptor import OURS, Handler, around, named
from qwentts_grpc.rpc.reset import reset_later
from qwentts_grpc.wire import caller
from qwentts_grpc.wire.caller import Caller, Metadata
from qwentts_grpc.wire.errors import Unauthenticated

OPEN = "/grpc.health.v1.Health/"  # a load balancer has no token
SCHEME = "bearer"


@dataclass(frozen=True, slots=True)
class Token:
    """A known caller, by the digest of its secret.

    `named`: the tenant, or empty.
    """

    digest: bytes = field(repr=False)
    named: str
    admin: bool = False

    @property
    def tenant(self) -> str:
        """The name; without one the digest."""
        return self.named or f"{caller.DIGEST}{self.digest.hex()}"


class Tokens:
    """The tokens of a file.

    Each line: a secret, perhaps its tenant, perhaps `admin`. `#` begins a comment line.
    """

    def __init__(self, path: Path, insecure: bool = False) -> None:
        """Raises OSError for an unreadable or empty file.

        `read_tokens` lists the other errors.
        """
        self._path, self._insecure = path, insecure
        self.reload()

    def reload(self) -> None:
        """Read the file again; raises OSError, keeping the old tokens."""
        self._known = read_tokens(self._path, self._insecure)
        self._tenants = frozenset(token.tenant for token in self._known)

    def tenants(self) -> frozenset[str]:
        """All tenants with a token."""
        return self._tenants

    def token(self, metadata: Metadata) -> Token:
        """The caller's token; raises `Unauthenticated` if missing or unknown."""
        scheme, _, secret = _authorization(metadata).partition(" ")
        digest = sha256(secret.strip().encode()).digest()
        # Every token is compared, each in constant time, so that the duration reveals nothing.
        found = [token for token in self._known if hmac.compare_digest(token.digest, digest)]
        if scheme.casefold() != SCHEME or not found:
            raise Unauthenticated
        return found[0]


def read_tokens(path: Path, insecure: bool = False) -> tuple[Token, ...]:
    """The tokens in a file; raises OSError without any.

    Raises PermissionError where all users can read it or a token can be guessed, unless that is `insecure`.
    """
    try:
        unsafe_settings.check_secret_file(path, insecure)
        lines = [line.split() for line in path.read_text().splitlines()]
    except PermissionError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        raise OSError(f"cannot read tokens from {path}: {error}") from error
    filled = [words for words in lines if words and not words[0].startswith("#")]
    tokens = [_token(*words) for words in filled if len(words) <= 3]
    if not tokens or len(tokens) < len(filled) or None in tokens:
        raise OSError(f"{path} must hold a token on each line, perhaps a tenant's name, and after that perhaps 'admin'")
    unsafe_settings.check_tokens((secret for secret, *_ in filled), path, insecure)
    return tuple(filter(None, tokens))


def _token(secret: str, tenant: str = "", role: str = "") -> Token | None:
    if role not in ("", "admin") or (tenant and not caller.is_name(tenant)):
        return None
    return Token(sha256(secret.encode()).digest(), tenant, role == "admin")


class AuthInterceptor(grpc.aio.ServerInterceptor):
    """Identifies callers; refuses those without a token.

    A token is needed where `tokens` are given. `unauthenticated` is called for each refusal.
    """

    def __init__(
        self, access: Access, tokens: Tokens | None, refusals: Refusals, unauthenticated: Callable[[], None]
    ) -> None:
        self._access = access
        self._tokens = tokens
        self._refusals = refusals
        self._on_refusal = unauthenticated

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """The original handler, or one that refuses before any header."""
        method, token = handler_call_details.method, None
        metadata = handler_call_details.invocation_metadata or ()
        if self._tokens is not None and not method.startswith(OPEN):
            try:
                token = self._tokens.token(metadata)
            except Unauthenticated:
                self._on_refusal()
                return self._refusing(named(method)[1])
        handler = await continuation(handler_call_details)
        if handler is None or not method.startswith(OURS):
            return handler
        return around(handler, lambda behavior: self._identified(behavior, token))

    def _identified(self, behavior: Any, token: Token | None) -> Any:
        async def handle(request: Any, context: Context) -> Any:
            caller.current.set(identified(self._access, token, context))
            return await behavior(request, context)

        return handle

    def _refusing(self, method: str) -> Handler:
        """A refusing handler for every kind of call.

        As a stream handler it need not wait for a message.
        """

        async def refuse(requests: Any, context: Context) -> None:
            caller.current.set(Caller(peer=context.peer()))
            try:
                await self._refusals.refuse(Call(method, context), requests, Unauthenticated())
            finally:
                reset_later(STATUS_TIMEOUT)

        return grpc.stream_stream_rpc_method_handler(refuse)


def identified(access: Access, token: Token | None, context: Context) -> Caller:
    """The caller of an authenticated call.

    Its tenant is the one of the token; without one, the one in a trusted gateway's metadata; else the token's own
    digest; without tokens the one in the client's certificate.
    """
    gateway = caller.from_metadata(access.tenant_key, context.invocation_metadata() or ())
    if token is not None:
        tenant = gateway if gateway and access.trust_tenant_key and not token.named else token.tenant
        return Caller(tenant, context.peer(), token.admin)
    client = caller.from_certificate(context.auth_context())
    tenant = gateway if gateway and (access.trust_tenant_key or not client) else client
    return Caller(tenant, context.peer())


def _authorization(metadata: Metadata) -> str:
    return next((value for key, value in metadata if key == "authorization" and isinstance(value, str)), "")
