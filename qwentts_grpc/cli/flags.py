"""Flags of the serve command.

The command line itself is the light client's.
"""

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn, get_args
from urllib.parse import unquote, urlsplit

from engine.api.config import FLAGS, EngineConfig, Flag
from qwentts_client.cli.command import Command, UsageError, seconds, whole
from qwentts_client.cli.main import main as main
from qwentts_client.cli.serve import how_to_install
from qwentts_grpc.cli.settings import ReplaceDefault, add_settings, early
from qwentts_grpc.telemetry import logs

Switch = argparse.BooleanOptionalAction  # --no-NAME turns it off
KINDS = ("0.6B-Base", "0.6B-CustomVoice", "1.7B-Base", "1.7B-CustomVoice", "1.7B-VoiceDesign")


def _add_serve(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    parser.description = (
        "Serve until SIGTERM, which lets open turns finish; SIGHUP reads tokens and certificates again. Each flag may"
        " also be a variable (--max-queue: QWENTTS_MAX_QUEUE; several models with commas between) or a line of the"
        " --config file (max-queue = 64, model = ['a', 'b']). Flags go before variables, variables before the file."
    )
    models = parser.add_mutually_exclusive_group().add_argument
    models(
        "--model",
        action=ReplaceDefault,
        help="checkpoint: a folder, or a hub id, perhaps with @REVISION; several may be given, the default one first"
        " (default: the embedded one, a small English voice for demonstration)",
    )
    models("--dummy-weights", choices=KINDS, metavar="KIND", help=f"random weights of real size: {', '.join(KINDS)}")
    add(
        "--voice-dir",
        type=_voice_place,
        metavar="DIR",
        help="store created voices here: a directory, or the URL of an object store such as s3://bucket/voices"
        " (default: in memory until the server stops)",
    )
    add(
        "--reference-silence",
        type=seconds(0, 5),
        default=0.5,
        metavar="SECONDS",
        help="appended to each recording, so that speech does not begin with an echo of its end (default %(default)g;"
        " 0: as the reference implementation)",
    )
    add("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    add("--port", type=whole(0, 65_535), default=50_051, help="0 picks a free one (default %(default)s)")
    add("--metrics-host", default="127.0.0.1", help="address of the metrics and probes (default %(default)s)")
    add("--metrics-port", type=whole(0, 65_535), default=9_464, help="HTTP: /metrics, /livez, /readyz (%(default)s)")
    add_engine_flags(parser)
    add(
        "--fronts",
        type=whole(0, 64),
        metavar="N",
        help="processes that share the port, beside an engine process a device; 0: one process for both (default: 0 on"
        " a CPU, else 2 a GPU)",
    )
    add(
        "--place",
        action="append",
        default=[],
        metavar="MODEL=DEVICE",
        help="a checkpoint for this device alone; may be given again (default: every checkpoint on every device)",
    )
    add("--drain-seconds", type=seconds(0), default=30.0, help="for open turns after SIGTERM (default %(default)g)")
    _add_security(parser)
    _add_tenants(parser)
    _add_cloning(parser)
    add("--watchdog-seconds", type=seconds(1), help="without a step end the server (default: 8 on a GPU, 30 on a CPU)")
    add("--log-level", choices=("debug", "info", "warning", "error"), default="info", help="least severe level to log")
    add("--log-format", choices=("text", "json"), default="text", help="json: an object with fields each line")
    add("--tracing", action=Switch, default=False, help="send OpenTelemetry spans, configured by the OTEL_ variables")
    add_settings(parser)
    parser.set_defaults(run=_run)


def add_engine_flags(parser: argparse.ArgumentParser, names: Iterable[str] = FLAGS) -> None:
    """Add flags of the engine's settings, all or some."""
    defaults = EngineConfig()
    for name in names:
        kind, flag = FLAGS[name]
        taken = _taken(kind, flag)
        parser.add_argument(f"--{name.replace('_', '-')}", default=getattr(defaults, name), help=flag.help, **taken)


def _taken(kind: object, flag: Flag) -> dict[str, Any]:
    if kind is bool:
        return {"action": Switch}
    if kind is int:
        return {"type": whole(flag.low, flag.high)}
    return {"choices": get_args(kind)} if get_args(kind) else {"type": _device}


def _add_security(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--tls-cert", type=Path, metavar="PEM", help="serve TLS with this certificate chain")
    add("--tls-key", type=Path, metavar="PEM", help="its key, unencrypted")
    add("--tls-client-ca", type=Path, metavar="PEM", help="take only clients with a certificate signed by this one")
    add("--token-file", type=Path, metavar="FILE", help="a bearer token a line, perhaps its tenant, perhaps 'admin'")
    add(
        "--max-connection-age",
        type=seconds(0),
        default=3_600.0,
        help="then reconnect; 0: never (default %(default)g s)",
    )
    add("--max-call-age", type=seconds(1), default=24_000.0, help="longest turn (default %(default)g s)")
    add("--insecure", action=Switch, default=False, help="serve where others could do harm: warn in place of a refusal")
    add("--reflection", action=Switch, default=True, help="serve the contract to tools such as grpcurl")


def _add_tenants(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--max-call-rate", type=whole(0, 100_000), default=0, help="calls a second of one tenant (default: any number)")
    add("--tenant-limit", type=whole(0, 100_000), default=0, help="open turns of one tenant (default: its share)")
    add(
        "--tenant-voices", type=whole(0, 10_000), default=100, help="created voices of one tenant (default %(default)s)"
    )
    add("--tenant-key", default="", metavar="KEY", help="metadata key that names the tenant, without tokens")
    add(
        "--trust-tenant-key",
        action=Switch,
        default=False,
        help="a gateway sets KEY: trust it beside tokens without a tenant",
    )


def _add_cloning(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--require-consent", action=Switch, default=False, help="take no recording without a reference to the consent")
    add(
        "--denied-recordings",
        type=Path,
        metavar="FILE",
        help="SHA-256 of recordings that may not be cloned, one a line",
    )
    add("--audit-log", type=Path, metavar="FILE", help="append a JSON line for each voice made, deleted or cloned")


def _quieten_core() -> None:
    """Restart the process where gRPC's core would log.

    It reads the environment once, when it is imported. Its lines, one for each odd connection and with bytes of the
    peer, would bypass the limits of log lines.
    """
    if "GRPC_VERBOSITY" not in os.environ:
        os.environ["GRPC_VERBOSITY"] = "NONE"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _run(options: argparse.Namespace) -> NoReturn:
    _quieten_core()
    for model in options.model or ():
        _check_folder(model)
    try:
        from qwentts_grpc.cli import serve  # the only command that needs the engine and torch
    except ModuleNotFoundError as error:
        raise UsageError(f"serve needs {error.name}: {how_to_install()}") from error
    serve.run(options)


def _check_folder(model: str) -> None:
    """Check what needs no torch, which takes seconds to import."""
    from engine.api.errors import CheckpointError
    from engine.checkpoint.hub import checkpoint_folder, is_hub_id

    if not is_hub_id(model):
        try:
            checkpoint_folder(model)
        except CheckpointError as error:
            raise UsageError(f"--model: {error}") from error


def _prepare_error(arguments: Sequence[str]) -> None:
    if early(arguments, "log-format") == "json":
        logs.configure("info", "json")


def _device(text: str) -> str:
    if text in ("auto", "all") or all(map(_is_device, text.split(","))):
        return text
    raise argparse.ArgumentTypeError(f"{text!r} is not auto, all, cpu, cuda or cuda:N, nor several of these")


def _is_device(text: str) -> bool:
    name, _, number = text.partition(":")
    return text in ("cpu", "cuda") or (name == "cuda" and number.isdigit())


def _voice_place(text: str) -> Path | str:
    """A directory's path, or an object store's URL."""
    url = urlsplit(text)
    if "://" not in text:
        return Path(text)
    if url.scheme == "file" and url.netloc not in ("", "localhost"):
        raise argparse.ArgumentTypeError(f"{text!r} is on another machine")
    return Path(unquote(url.path)) if url.scheme == "file" else text


SERVE = Command("run a server", _add_serve, _prepare_error)

if __name__ == "__main__":
    main()
