"""The flags that say how to reach a server, and what a command says when its call fails."""

import argparse
import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc

from qwentts_client.cli.command import UsageError
from qwentts_client.client import AsyncClient
from qwentts_client.tls import client_credentials

FAILED = 1


def add_connection_flags(parser: argparse.ArgumentParser) -> None:
    """How to reach a server. A command within another leaves what it is not given as the outer one has it."""
    add = parser.add_argument
    if parser.argument_default is not argparse.SUPPRESS:
        token = os.environ.get("QWENTTS_TOKEN", "")
        parser.set_defaults(server="localhost:50051", token=token, tls=False, tls_ca=None, tls_cert=None, tls_key=None)
    add("--server", metavar="HOST:PORT", help="default localhost:50051")
    add("--token", help="bearer token (QWENTTS_TOKEN, which ps hides)")
    add("--tls", action="store_true", help="speak TLS, and trust the roots that gRPC carries")
    add("--tls-ca", type=Path, metavar="PEM", help="speak TLS, and trust this certificate alone")
    add("--tls-cert", type=Path, metavar="PEM", help="this client's certificate, where the server asks for one")
    add("--tls-key", type=Path, metavar="PEM", help="its key")


def calling(work: Callable[[AsyncClient, argparse.Namespace], Awaitable[None]]) -> Callable[[argparse.Namespace], int]:
    """A command's `run`: does `work` with a client of the server that the options name."""

    async def call(options: argparse.Namespace) -> int:
        try:
            async with _client(options) as client:
                await work(client, options)
        except grpc.aio.AioRpcError as error:
            return _failed(error, options.server)
        return 0

    return lambda options: asyncio.run(call(options))


def read_file(flag: str, path: Path) -> bytes:
    """The bytes of `path`; raises `UsageError` that names `flag`."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{flag}: cannot read {path}: {error.strerror}") from error


def _client(options: argparse.Namespace) -> AsyncClient:
    if (options.tls_cert is None) != (options.tls_key is None):
        raise UsageError("--tls-cert and --tls-key go together")
    if not options.token.isascii() or not options.token.isprintable():
        raise UsageError("--token: not printable ASCII")
    if not (options.tls or options.tls_ca or options.tls_cert):
        return AsyncClient(options.server, token=options.token)
    try:
        credentials = client_credentials(options.tls_ca, options.tls_cert, options.tls_key)
    except OSError as error:
        raise UsageError(str(error)) from error
    return AsyncClient(options.server, token=options.token, credentials=credentials)


def _failed(error: grpc.aio.AioRpcError, server: str) -> int:
    """One line: what the server said, or that there is none."""
    answered = any(key == "grpc-status-details-bin" for key, _ in error.trailing_metadata() or ())
    if error.code() is grpc.StatusCode.UNAVAILABLE and not answered:
        print(f"qwentts-grpc: no server answers at {server} (qwentts-grpc serve starts one)", file=sys.stderr)
    else:
        print(f"qwentts-grpc: {error.code().name}: {error.details()}", file=sys.stderr)
    return FAILED
