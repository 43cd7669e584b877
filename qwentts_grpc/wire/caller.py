"""The caller of an RPC, identified once at authentication.

Limits, voices, logs and audit all use this identity.
"""

import re
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from hashlib import sha256

DIGEST = "sha256:"  # prefix of a digest that stands for a tenant whose identity is secret or not a valid name
SHOWN = len(DIGEST) + 12  # characters of a digest in logs and responses

_NAME = re.compile(r"[!-~](?:[ -~]{0,126}[!-~])?")

Metadata = Iterable[tuple[str, str | bytes]]
Identity = Mapping[str, Iterable[bytes]]  # a peer's identity: gRPC's "auth context"


@dataclass(frozen=True, slots=True)
class Caller:
    """Identity of a caller.

    `tenant`: empty where tenants are not configured. `peer`: gRPC's name of the address. An `admin` may share voices
    with all tenants.
    """

    tenant: str = ""
    peer: str = ""
    admin: bool = False

    @property
    def name(self) -> str:
        """The tenant's display name."""
        return shown(self.tenant)

    @property
    def keeps_shared(self) -> bool:
        """Permission to create or delete shared voices.

        Held by admins; by everyone where the caller has no tenant.
        """
        return self.admin or not self.tenant


UNKNOWN = Caller()
current: ContextVar[Caller] = ContextVar("caller", default=UNKNOWN)


def shown(tenant: str) -> str:
    """A tenant's display name: the name, or a short digest."""
    return tenant[:SHOWN] if tenant.startswith(DIGEST) else tenant


def is_name(text: str) -> bool:
    """Whether `text` is a valid tenant name.

    Valid: 1 to 128 printable ASCII characters, not a digest.
    """
    return _NAME.fullmatch(text) is not None and not text.startswith(DIGEST)


def digest(data: bytes) -> str:
    """Tenant id for identity bytes that are no valid name."""
    return f"{DIGEST}{sha256(data).hexdigest()}"


def from_metadata(key: str, metadata: Metadata) -> str:
    """Tenant named by a gateway under `key`; empty if absent."""
    value = next((str(value) for name, value in metadata if key and name == key), "")
    return named(value.encode()) if value else ""


def from_certificate(identity: Identity) -> str:
    """Tenant named by a client certificate; empty without a certificate.

    The subject's common name, else the first alternative name, else the certificate's digest.
    """
    for field in ("x509_common_name", "x509_subject_alternative_name"):
        value = next(iter(identity.get(field, ())), b"")
        if value:
            return named(value)
    pem = next(iter(identity.get("x509_pem_cert", ())), b"")
    return digest(pem) if pem else ""


def named(value: bytes) -> str:
    """Tenant id of a name; a digest if invalid."""
    text = value.decode(errors="replace")
    return text if is_name(text) else digest(value)
