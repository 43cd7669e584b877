"""Ports as gRPC and people write them, and clear errors where one is taken."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def named(what: str, host: str, port: int) -> Iterator[None]:
    """Say in errors what was to be served where."""
    try:
        yield
    except OSError as error:
        why = (error.strerror or str(error)).partition(" (while")[0]
        raise OSError(f"cannot serve {what} on {address(host, port)}: {why}") from error


def check_free(host: str, port: int) -> None:
    """Raise OSError where a port is taken or a host is not here; gRPC would write lines of its own to stderr."""
    with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
        return


def address(host: str, port: int) -> str:
    """Both as gRPC and people write them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
