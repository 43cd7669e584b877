"""TLS credentials of a server, from PEM files."""

from dataclasses import dataclass
from pathlib import Path

import grpc

from qwentts_client.tls import check_pair, checked_ca, read_file
from qwentts_client.tls import client_credentials as client_credentials
from qwentts_grpc.host.unsafe_settings import check_secret_file


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Certificate chain, its key, optional CA of client certificates.

    With `client_ca` the server demands certificates signed by it.
    """

    cert: Path
    key: Path
    client_ca: Path | None = None


class ServerTls:
    """A server's credentials; `reload` renews them for later connections."""

    def __init__(self, files: TlsFiles, insecure: bool = False) -> None:
        """Raises OSError with one line that names the file.

        Also for a key that all users can read, unless `insecure`.
        """
        self._files, self._insecure = files, insecure
        self.reload()

    def credentials(self) -> grpc.ServerCredentials:
        """For `add_secure_port`; each handshake uses the current certificates."""
        return grpc.dynamic_ssl_server_credentials(
            self._certificates, lambda: self._certificates, self._files.client_ca is not None
        )

    def reload(self) -> None:
        """Read the files again; raises OSError, keeping the old ones."""
        self._certificates = _certificates(self._files, self._insecure)


def _certificates(files: TlsFiles, insecure: bool) -> grpc.ServerCertificateConfiguration:
    check_pair(files.cert, files.key)
    check_secret_file(files.key, insecure)
    pair = (read_file(files.key), read_file(files.cert))
    return grpc.ssl_server_certificate_configuration([pair], checked_ca(files.client_ca) if files.client_ca else None)
