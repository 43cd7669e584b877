"""The serve command: flags to configuration, then a process."""

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from engine.api.config import FLAGS, EngineConfig
from engine.api.errors import CheckpointError
from engine.checkpoint.embedded import embedded_checkpoint
from qwentts_client.cli.command import UsageError
from qwentts_grpc.admission.tenants import Access
from qwentts_grpc.processes.layout import layout
from qwentts_grpc.processes.supervisor import supervise
from qwentts_grpc.rpc.tls import TlsFiles
from qwentts_grpc.rpc.tracing import OpenTelemetry, Tracing
from qwentts_grpc.server.config import ServerConfig
from qwentts_grpc.server.process import one_line, serve
from qwentts_grpc.telemetry import logs

log = logging.getLogger(__name__)


def run(options: argparse.Namespace) -> NoReturn:
    """Serve until a signal, then end the process.

    Raises `UsageError` where the start failed.
    """
    logs.configure(options.log_level, options.log_format)
    try:
        asyncio.run(_serve(_config(options), options))
    except (CheckpointError, OSError) as error:
        raise UsageError(_explained(error, options)) from error
    raise AssertionError("a process that has served has ended")


def _explained(error: Exception, options: argparse.Namespace) -> str:
    """One line with the flag, for errors about a file."""
    said = one_line(error)
    flags = (name for name, value in vars(options).items() if isinstance(value, Path) and str(value) in said)
    flag = next(flags, None)
    return f"--{flag.replace('_', '-')}: {said}" if flag else said


async def _serve(config: ServerConfig, options: argparse.Namespace) -> None:
    """Exit from inside the loop.

    `asyncio.run` would wait for threads, and for tasks that cannot be cancelled.
    """
    tracing = _tracing() if options.tracing else None
    if config.fronts:
        log_settings = options.log_level, options.log_format
        _leave(await supervise(config, logs.announce, *log_settings, tracing=options.tracing))
    _leave(await serve(config, logs.announce, tracing))


def _config(options: argparse.Namespace) -> ServerConfig:
    model, *more = _models(options)
    fronts, devices = layout(options.device, options.fronts, options.tensor_parallel)
    return ServerConfig(
        model=model,
        more_models=tuple(more),
        host=options.host,
        port=options.port,
        metrics_host=options.metrics_host,
        metrics_port=options.metrics_port,
        drain_seconds=options.drain_seconds,
        max_connection_age=options.max_connection_age,
        max_call_age=options.max_call_age,
        max_call_rate=options.max_call_rate,
        tls=_tls(options),
        access=_access(options),
        reflection=options.reflection,
        watchdog_seconds=options.watchdog_seconds,
        voice_dir=options.voice_dir,
        insecure=options.insecure,
        require_consent=options.require_consent,
        denied_recordings=options.denied_recordings,
        audit_log=options.audit_log,
        reference_silence=options.reference_silence,
        fronts=fronts,
        devices=devices,
        placements=tuple(_placement(each, (model, *more), devices) for each in options.place),
        engine=replace(_engine(options), device=devices[0]),
    )


def _placement(text: str, models: Sequence[str], devices: Sequence[str]) -> tuple[str, str]:
    model, _, device = text.rpartition("=")
    if model not in models or device not in devices:
        raise UsageError(f"--place {text}: needs a checkpoint of --model and a device of --device")
    return model, device


def _engine(options: argparse.Namespace) -> EngineConfig:
    given = {name: getattr(options, name) for name in FLAGS}
    return EngineConfig(**given, dummy_weights=options.dummy_weights is not None)


def _access(options: argparse.Namespace) -> Access:
    if options.trust_tenant_key and not options.tenant_key:
        raise UsageError("--trust-tenant-key needs --tenant-key")
    if options.tenant_key and not options.trust_tenant_key and (options.token_file or options.tls_client_ca):
        log.warning("--tenant-key is ignored beside tokens or certificates without --trust-tenant-key")
    return Access(
        token_file=options.token_file,
        tenant_key=options.tenant_key.lower(),
        trust_tenant_key=options.trust_tenant_key,
        tenant_limit=options.tenant_limit,
        tenant_voices=options.tenant_voices,
    )


def _tls(options: argparse.Namespace) -> TlsFiles | None:
    if (options.tls_cert is None) != (options.tls_key is None) or (options.tls_client_ca and not options.tls_cert):
        raise UsageError("--tls-cert and --tls-key go together, and --tls-client-ca needs both")
    return TlsFiles(options.tls_cert, options.tls_key, options.tls_client_ca) if options.tls_cert else None


def _tracing() -> Tracing:
    try:
        return OpenTelemetry()
    except ModuleNotFoundError as error:
        raise UsageError(f"--tracing needs {error.name}: pip install 'qwentts-grpc[server,tracing]'") from error


def _models(options: argparse.Namespace) -> list[str]:
    if options.dummy_weights is not None:
        if options.model is not None:
            raise UsageError("model and dummy-weights exclude each other")
        return [str(options.dummy_weights)]
    return options.model or [str(embedded_checkpoint())]


def _leave(code: int) -> NoReturn:
    """Exit without joining threads.

    One may be loading a model, or hang in a device call.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
