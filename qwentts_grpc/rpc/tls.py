"""TLS from PEM files: a server's credentials."""

from dataclasses import dataclass
from pathlib import Path

import grpc

from qwentts_client.tls import check_pair, checked_ca, read_file
from qwentts_client.tls import client_credentials as client_credentials
from qwentts_grpc.host.unsafe_settings import check_secret_file


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """A certificate chain and its key; `client_ca` makes a server demand certificates that it has signed."""

    cert: Path
    key: Path
    client_ca: Path | None = None


class ServerTls:
    """A server's credentials, which `reload` renews for the connections that follow."""

    def __init__(self, files: TlsFiles, insecure: bool = False) -> None:
        """Raises OSError with one line that names the file; for a key that all users can read unless `insecure`."""
        self._files, self._insecure = files, insecure
        self.reload()

    def credentials(self) -> grpc.ServerCredentials:
        """For `add_secure_port`; every handshake asks for the certificates that are current."""
        return grpc.dynamic_ssl_server_credentials(
            self._certificates, lambda: self._certificates, self._files.client_ca is not None
        )

    def reload(self) -> None:
        """Read the files again; raises OSError, and then the certificates stay as they were."""
        self._certificates = _certificates(self._files, self._insecure)


def _certificates(files: TlsFiles, insecure: bool) -> grpc.ServerCertificateConfiguration:
    check_pair(files.cert, files.key)
    check_secret_file(files.key, insecure)
    pair = (read_file(files.key), read_file(files.cert))
    return grpc.ssl_server_certificate_configuration([pair], checked_ca(files.client_ca) if files.client_ca else None)
