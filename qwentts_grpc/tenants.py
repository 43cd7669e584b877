"""Tenants: how many turns each of them may have open at once."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from qwentts_grpc.auth import Metadata, Tokens
from qwentts_grpc.errors import TenantLimit


@dataclass(frozen=True, slots=True)
class Access:
    """Who may call, and how much at once.

    `tenant_key`: the metadata key that names the tenant where the caller's token does not. `tenant_limit`: turns that
    one tenant may have open, 0 for any number; callers without a tenant are one tenant together.
    """

    token_file: Path | None = None
    tenant_key: str = ""
    tenant_limit: int = 0


class Tenants:
    """Counts `open` turns by tenant. Belongs to the event loop's thread."""

    def __init__(self, access: Access, tokens: Tokens | None) -> None:
        self._access = access
        self._tokens = tokens
        self.open: Counter[str] = Counter()

    @contextmanager
    def seat(self, metadata: Metadata) -> Iterator[None]:
        """Hold one of the caller's places; raises `TenantLimit` where all are taken."""
        tenant = self._tenant(metadata)
        if 0 < self._access.tenant_limit <= self.open[tenant]:
            raise TenantLimit(self._access.tenant_limit)
        self.open[tenant] += 1
        try:
            yield
        finally:
            self._leave(tenant)

    def _leave(self, tenant: str) -> None:
        self.open[tenant] -= 1
        if not self.open[tenant]:
            del self.open[tenant]  # names come from outside: only those in use are kept

    def _tenant(self, metadata: Metadata) -> str:
        named = self._tokens.tenant(metadata) if self._tokens else ""
        return named or next((str(value) for key, value in metadata if key == self._access.tenant_key), "")
