"""A client's TLS credentials, with checks of PEM files.

A server's files have the same checks.
"""

import ssl
from pathlib import Path

import grpc


def client_credentials(ca: Path | None, cert: Path | None, key: Path | None) -> grpc.ChannelCredentials:
    """Credentials that trust `ca` (None: the roots of gRPC).

    `cert` with `key` answers a server's demand for a client certificate. Raises OSError with one line that names the
    file.
    """
    if cert is not None and key is not None:
        check_pair(cert, key)
    return grpc.ssl_channel_credentials(
        checked_ca(ca) if ca else None, read_file(key) if key else None, read_file(cert) if cert else None
    )


def check_pair(cert: Path, key: Path) -> None:
    """Raise OSError unless `key` is unencrypted, of this `cert`.

    gRPC itself reports no details; an encrypted key would ask the terminal for its password.
    """
    for path in (cert, key):
        read_file(path)
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(cert, key, password="")
    except (ssl.SSLError, ValueError) as error:
        raise OSError(f"{cert} and {key} are not a certificate and its unencrypted key: {_reason(error)}") from error


def checked_ca(path: Path) -> bytes:
    """The PEM file `path`; raises OSError without a certificate."""
    pem = read_file(path)
    try:
        ssl.create_default_context(cafile=path)
    except ssl.SSLError as error:
        raise OSError(f"{path} holds no certificate: {_reason(error)}") from error
    return pem


def read_file(path: Path) -> bytes:
    """The bytes of `path`; raises OSError naming it."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise OSError(f"cannot read {path}: {error.strerror}") from error


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or error)
