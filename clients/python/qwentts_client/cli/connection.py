"""Flags of the connection, with error output of failed calls."""

import argparse
import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from qwentts_client.cli.command import UsageError
from qwentts_client.client import AsyncClient
from qwentts_client.errors import Code, TTSError
from qwentts_client.options import checked_recording
from qwentts_client.tls import client_credentials

FAILED = 1
SERVER = "localhost:50051"

Work = Callable[[AsyncClient, argparse.Namespace], Awaitable[int | None]]


def add_connection_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the connection.

    A subcommand leaves the ones it is not given as the outer command has them.
    """
    add = parser.add_argument_group("server").add_argument
    if parser.argument_default is not argparse.SUPPRESS:
        server, token = os.environ.get("QWENTTS_SERVER") or SERVER, os.environ.get("QWENTTS_TOKEN", "")
        parser.set_defaults(server=server, token=token, tls=False, tls_ca=None, tls_cert=None, tls_key=None)
    add("--server", metavar="HOST:PORT", help=f"QWENTTS_SERVER, or else {SERVER}; several with commas between")
    add("--token", help="bearer token (QWENTTS_TOKEN, which ps hides)")
    add("--tls", action="store_true", help="use TLS, and trust the roots that gRPC carries")
    add("--tls-ca", type=Path, metavar="PEM", help="use TLS, and trust this certificate alone")
    add("--tls-cert", type=Path, metavar="PEM", help="this client's certificate, where the server asks for one")
    add("--tls-key", type=Path, metavar="PEM", help="its key")


def calling(work: Work) -> Callable[[argparse.Namespace], int]:
    """A command's `run`, which returns the exit code.

    It does `work` with a client of the server that the options name.
    """

    async def call(options: argparse.Namespace) -> int:
        try:
            async with client_of(options) as client:
                return await work(client, options) or 0
        except TTSError as error:
            print_failure(error)
            return FAILED

    return lambda options: asyncio.run(call(options))


def client_of(options: argparse.Namespace, /, **settings: Any) -> AsyncClient:
    """A client from the flags; raises `UsageError`.

    `settings`: further ones of `AsyncClient`.
    """
    if (options.tls_cert is None) != (options.tls_key is None):
        raise UsageError("--tls-cert and --tls-key go together")
    if not options.token.isascii() or not options.token.isprintable():
        raise UsageError("--token: not printable ASCII")
    tls = options.tls or options.tls_ca or options.tls_cert
    try:
        credentials = client_credentials(options.tls_ca, options.tls_cert, options.tls_key) if tls else None
    except OSError as error:
        raise UsageError(str(error)) from error
    try:
        return AsyncClient(options.server, token=options.token, credentials=credentials, **settings)
    except ValueError as error:
        raise UsageError(f"--server: {error}") from error


def print_failure(error: TTSError, what: str = "") -> None:
    """Print one line on stderr with the server's message.

    Or that there is no server.
    """
    said = error.details() or ""
    if error.code() is not Code.UNAVAILABLE or error.answered:
        said = f"{error.code().name}: {said}"
    elif said.startswith("no server answers"):
        said += " (qwentts-grpc serve starts one)"
    print(f"qwentts-grpc: {what}{' '.join(said.split())}", file=sys.stderr)


def read_recording(flag: str, path: Path) -> bytes:
    """The bytes of a recording; raises `UsageError` naming `flag`."""
    try:
        audio = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{flag}: cannot read {path}: {error.strerror}") from error
    try:
        return checked_recording(audio)
    except ValueError as error:
        raise UsageError(f"{flag}: {path}: {error}") from error
