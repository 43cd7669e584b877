"""The http command: flags to settings, then a process."""

import argparse
from pathlib import Path

from qwentts_client.cli.command import Command, UsageError, seconds, whole
from qwentts_client.cli.connection import add_connection_flags, client_of
from qwentts_client.cli.serve import how_to_install
from qwentts_client.tls import check_pair
from qwentts_grpc.cli.settings import ReplaceDefault, add_settings
from qwentts_grpc.telemetry import logs


def _add_http(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    parser.description = (
        "Serve OpenAI's speech endpoint (POST /v1/audio/speech) and a page, for a server that runs already. Each flag"
        " may also be a variable or a line of the --config file, as for serve."
    )
    add_connection_flags(parser)
    add("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    add("--port", type=whole(0, 65_535), default=8_080, help="0 picks a free one (default %(default)s)")
    add(
        "--voice-alias",
        action=ReplaceDefault,
        type=_alias,
        default=[],
        metavar="NAME=VOICE",
        help="another name of a voice, such as alloy=joe; OpenAI's names are the default voice else. May be repeated",
    )
    add(
        "--allow-origin",
        action=ReplaceDefault,
        type=_origin,
        default=[],
        metavar="URL",
        help="https://HOST whose pages may call, or the door's own behind a proxy. May be repeated",
    )
    add("--page", action=argparse.BooleanOptionalAction, default=True, help="serve the page at /")
    add("--max-calls", type=whole(1, 10_000), default=256, help="speeches open at once (default %(default)s)")
    add("--max-call-seconds", type=seconds(1), default=3_600.0, help="longest speech (default %(default)g)")
    add("--drain-seconds", type=seconds(0), default=30.0, help="for open speeches after SIGTERM (default %(default)g)")
    add("--https-cert", type=Path, metavar="PEM", help="serve HTTPS with this certificate chain")
    add("--https-key", type=Path, metavar="PEM", help="its key, unencrypted")
    add("--log-level", choices=("debug", "info", "warning", "error"), default="info", help="least severe level to log")
    add("--log-format", choices=("text", "json"), default="text", help="json: an object with fields each line")
    add_settings(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    _check_certificate(options.https_cert, options.https_key)
    try:
        from qwentts_grpc.http import process
        from qwentts_grpc.http.callers import CHANNEL_OPTIONS
        from qwentts_grpc.http.settings import Aliases, Settings
    except ModuleNotFoundError as error:
        raise UsageError(f"http needs {error.name}: {how_to_install('http')}") from error
    logs.configure(options.log_level, options.log_format)
    settings = Settings(
        client=client_of(options, retry_for=0.0, options=CHANNEL_OPTIONS),
        host=options.host,
        port=options.port,
        aliases=Aliases(dict(options.voice_alias)),
        origins=tuple(options.allow_origin),
        max_calls=options.max_calls,
        max_call_seconds=options.max_call_seconds,
        drain_seconds=options.drain_seconds,
        page=options.page,
        certificate=options.https_cert,
        key=options.https_key,
    )
    try:
        process.run(settings)
    except OSError as error:
        raise UsageError(f"cannot serve on {options.host}:{options.port}: {error}") from error
    return 0


def _check_certificate(certificate: Path | None, key: Path | None) -> None:
    if (certificate is None) != (key is None):
        raise UsageError("--https-cert and --https-key go together")
    if certificate is not None and key is not None:
        try:
            check_pair(certificate, key)
        except OSError as error:
            raise UsageError(f"--https-cert: {error}") from error


def _alias(text: str) -> tuple[str, str]:
    name, equals, voice = text.partition("=")
    if not (name and equals and voice):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VOICE")
    return name, voice


def _origin(text: str) -> str:
    scheme, separator, host = text.lower().partition("://")
    if scheme not in ("http", "https") or not separator or not host or "/" in host:
        raise argparse.ArgumentTypeError(f"{text!r} is not http://HOST or https://HOST, perhaps with :PORT")
    return text.lower()


HTTP = Command("serve OpenAI's speech endpoint and a page, for a server", _add_http)
