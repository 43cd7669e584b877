"""Files that a server reads again while it runs."""

import logging

from qwentts_grpc.admission.auth import Tokens
from qwentts_grpc.rpc.tls import ServerTls
from qwentts_grpc.server.config import ServerConfig
from qwentts_grpc.telemetry.metrics import Metrics
from qwentts_grpc.voices.consent import Consent

log = logging.getLogger(__name__)


class ReloadedFiles:
    """Certificates, tokens, denied recordings; None where not configured."""

    def __init__(self, config: ServerConfig, metrics: Metrics) -> None:
        """Raises OSError for an unreadable file.

        PermissionError, which is one, for a file open to all users.
        """
        self._config, self._metrics = config, metrics
        self.tls = ServerTls(config.tls, config.insecure) if config.tls else None
        self._read_certificates()
        self.tokens = Tokens(config.access.token_file, config.insecure) if config.access.token_file else None
        self.consent = Consent(config.require_consent, config.denied_recordings)

    def reload(self) -> None:
        """Read all again.

        An unreadable one keeps its old content.
        """
        for each in (self.tokens, self.tls, self.consent):
            if each is None:
                continue
            try:
                each.reload()
            except OSError as error:
                log.error("not reloaded: %s", error)
            else:
                log.info("reloaded: %s", type(each).__name__)
                if each is self.tls:
                    self._read_certificates()

    def _read_certificates(self) -> None:
        if tls := self._config.tls:
            self._metrics.host.read_certificates(server=tls.cert, client_ca=tls.client_ca)
