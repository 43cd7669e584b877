"""Check of who can reach a server's ports."""

from qwentts_grpc.host import unsafe_settings
from qwentts_grpc.server.config import ServerConfig


def check_exposure(config: ServerConfig) -> None:
    """Warn of readable traffic; raise PermissionError for open access."""
    certificates = config.tls is not None and config.tls.client_ca is not None
    unsafe_settings.check_listening(
        config.host,
        config.metrics_host,
        tls=config.tls is not None,
        known_callers=config.access.token_file is not None or certificates,
        insecure=config.insecure,
    )
