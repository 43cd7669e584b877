"""The process: a socket, uvicorn, the signals."""

import signal
import socket

import uvicorn

from qwentts_grpc.http.app import make_app
from qwentts_grpc.http.head_timeout import HeadTimeoutProtocol
from qwentts_grpc.http.live import LARGEST_MESSAGE
from qwentts_grpc.http.settings import Settings

MOST_CONNECTIONS = 1_024
BACKLOG = 1_024


def run(settings: Settings) -> None:
    """Serve until SIGTERM, which lets open calls finish.

    Raises OSError where the port is taken, or a certificate cannot be read.
    """
    with listening(settings) as sock:
        server = uvicorn.Server(server_config(settings))
        server.config.load()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # uvicorn raises it again once it has ended
        scheme = "https" if settings.certificate else "http"
        host, port = sock.getsockname()[:2]
        print(f"listening on {scheme}://{f'[{host}]' if ':' in host else host}:{port}/", flush=True)
        server.run([sock])


def listening(settings: Settings) -> socket.socket:
    """A listening socket; raises OSError."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    return socket.create_server((settings.host, settings.port), family=family, backlog=BACKLOG)


def server_config(settings: Settings) -> uvicorn.Config:
    """uvicorn's configuration; logging is the caller's."""
    return uvicorn.Config(
        make_app(settings),
        http=HeadTimeoutProtocol,
        ws_max_size=LARGEST_MESSAGE,
        ws_max_queue=8,
        ws_per_message_deflate=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=round(settings.drain_seconds),
        ssl_certfile=settings.certificate,
        ssl_keyfile=settings.key,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
    )
