"""Host:port notation, with clear errors for a taken port."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def named(what: str, host: str, port: int) -> Iterator[None]:
    """Add subject, host, port to an OSError."""
    try:
        yield
    except OSError as error:
        why = (error.strerror or str(error)).partition(" (while")[0]
        raise OSError(f"cannot serve {what} on {address(host, port)}: {why}") from error


@contextmanager
def reserved(host: str, port: int) -> Iterator[int]:
    """Port number shared by this user's processes.

    During the body; 0 picks one.
    Raises OSError for a taken port or a foreign host.
    """
    check_free(host, port)
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as holding:
        holding.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holding.bind((host, port))  # without listening no connection comes here
        yield int(holding.getsockname()[1])


def check_free(host: str, port: int) -> None:
    """Raise OSError for a taken port or a foreign host.

    gRPC would write lines of its own to stderr.
    """
    with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
        return


def address(host: str, port: int) -> str:
    """ "host:port", with IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
