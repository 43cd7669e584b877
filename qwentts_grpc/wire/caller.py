"""The caller of an RPC: identified once, when it is authenticated; limits, voices, logs and audit go by it."""

import re
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from hashlib import sha256

DIGEST = "sha256:"  # before the digest of what names a tenant, where it is secret or no name
SHOWN = len(DIGEST) + 12  # characters of a digest in logs and answers

_NAME = re.compile(r"[!-~](?:[ -~]{0,126}[!-~])?")

Metadata = Iterable[tuple[str, str | bytes]]
Identity = Mapping[str, Iterable[bytes]]  # of a connection's other end: gRPC's "auth context"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a call. `tenant` is empty where the server knows no tenants; `peer` is gRPC's name of the address.

    An admin may share voices with all tenants.
    """

    tenant: str = ""
    peer: str = ""
    admin: bool = False

    @property
    def name(self) -> str:
        """The tenant as people see it."""
        return shown(self.tenant)

    @property
    def keeps_shared(self) -> bool:
        """Whether the caller may make and delete shared voices: an admin, or anyone where there are no tenants."""
        return self.admin or not self.tenant


UNKNOWN = Caller()
current: ContextVar[Caller] = ContextVar("caller", default=UNKNOWN)


def shown(tenant: str) -> str:
    """A tenant as people see it: a name, or a short digest."""
    return tenant[:SHOWN] if tenant.startswith(DIGEST) else tenant


def is_name(text: str) -> bool:
    """Whether `text` can name a tenant: 1 to 128 printable ASCII characters, and no digest."""
    return _NAME.fullmatch(text) is not None and not text.startswith(DIGEST)


def digest(data: bytes) -> str:
    """The tenant that has no name, from what it is known by."""
    return f"{DIGEST}{sha256(data).hexdigest()}"


def from_metadata(key: str, metadata: Metadata) -> str:
    """The tenant that a gateway names under `key`; empty where it names none."""
    value = next((str(value) for name, value in metadata if key and name == key), "")
    return named(value.encode()) if value else ""


def from_certificate(identity: Identity) -> str:
    """The tenant that a client's certificate names; empty where the client has shown none.

    That is the subject's common name, else the first alternative name, else the certificate's digest.
    """
    for field in ("x509_common_name", "x509_subject_alternative_name"):
        value = next(iter(identity.get(field, ())), b"")
        if value:
            return named(value)
    pem = next(iter(identity.get("x509_pem_cert", ())), b"")
    return digest(pem) if pem else ""


def named(value: bytes) -> str:
    """The tenant of this name; what cannot be one becomes its digest."""
    text = value.decode(errors="replace")
    return text if is_name(text) else digest(value)
