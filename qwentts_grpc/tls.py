"""TLS from PEM files: a server's credentials, and a client's."""

import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """A certificate chain and its key; `client_ca` makes a server demand certificates that it has signed."""

    cert: Path
    key: Path
    client_ca: Path | None = None


class ServerTls:
    """A server's credentials, which `reload` renews for the connections that follow."""

    def __init__(self, files: TlsFiles) -> None:
        """Raises OSError with one line that names the file."""
        self._files = files
        self._certificates = _certificates(files)

    def credentials(self) -> grpc.ServerCredentials:
        """For `add_secure_port`; every handshake asks for the certificates that are current."""
        return grpc.dynamic_ssl_server_credentials(
            self._certificates, lambda: self._certificates, self._files.client_ca is not None
        )

    def reload(self) -> None:
        """Read the files again; raises OSError, and then the certificates stay as they were."""
        self._certificates = _certificates(self._files)


def client_credentials(ca: Path | None, cert: Path | None, key: Path | None) -> grpc.ChannelCredentials:
    """Trust `ca` (None: the roots that gRPC carries), and answer a server's demand with `cert` and `key`.

    Raises OSError with one line that names the file.
    """
    if cert is not None and key is not None:
        _check_pair(cert, key)
    return grpc.ssl_channel_credentials(
        _checked_ca(ca) if ca else None, _read(key) if key else None, _read(cert) if cert else None
    )


def _certificates(files: TlsFiles) -> grpc.ServerCertificateConfiguration:
    _check_pair(files.cert, files.key)
    pair = (_read(files.key), _read(files.cert))
    return grpc.ssl_server_certificate_configuration([pair], _checked_ca(files.client_ca) if files.client_ca else None)


def _check_pair(cert: Path, key: Path) -> None:
    """gRPC itself would say no more than that it failed; an encrypted key would ask the terminal for its password."""
    for path in (cert, key):
        _read(path)
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(cert, key, password="")
    except (ssl.SSLError, ValueError) as error:
        raise OSError(f"{cert} and {key} are not a certificate and its unencrypted key: {_reason(error)}") from error


def _checked_ca(path: Path) -> bytes:
    pem = _read(path)
    try:
        ssl.create_default_context(cafile=path)
    except ssl.SSLError as error:
        raise OSError(f"{path} holds no certificate: {_reason(error)}") from error
    return pem


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or error)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise OSError(f"cannot read {path}: {error.strerror}") from error
