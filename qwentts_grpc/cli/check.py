"""The check command: proof of a checkpoint on this machine."""

import argparse
import asyncio
from pathlib import Path

from engine.api.config import EngineConfig
from engine.api.errors import CheckpointError
from engine.checkpoint.embedded import embedded_checkpoint
from qwentts_client.cli.command import Command, UsageError, whole
from qwentts_client.cli.serve import how_to_install
from qwentts_grpc.cli.flags import KINDS, add_engine_flags
from qwentts_grpc.telemetry import logs

FAILED = 1
TAKEN = ("device", "dtype", "attention", "tokenizer_split")  # of the engine's flags


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Compare the device's path with the plain one in float32, speak with every voice, measure; then print a table"
        " and write a report. Leaves with 0 where all is well, 1 where a figure failed, 2 for an unusable checkpoint."
    )
    add = parser.add_argument
    models = parser.add_mutually_exclusive_group().add_argument
    models("--model", help="checkpoint: a folder, or a hub id, perhaps with @REVISION (default: the embedded one)")
    models("--dummy-weights", choices=KINDS, metavar="KIND", help=f"random weights of real size: {', '.join(KINDS)}")
    add_engine_flags(parser, TAKEN)
    add("--max-speeches", type=whole(1, 1_024), default=32, help="most streams of the ramp (default %(default)s)")
    add("--report", type=Path, default=Path("check-report"), metavar="DIR", help="for report.html, report.json")
    add("--recogniser", default="", help="faster-whisper's model, a name or folder (default: one that is here already)")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    logs.configure("info", "text")
    try:
        from engine.check import report, run  # torch, which takes seconds
    except ModuleNotFoundError as error:
        raise UsageError(f"check needs {error.name}: {how_to_install()}") from error
    try:
        options.report.mkdir(parents=True, exist_ok=True)
        result = asyncio.run(run.check(run.Options(_model(options), _config(options), recogniser=options.recogniser)))
    except CheckpointError as error:
        raise UsageError(f"{error.reason}: {error}") from error
    except OSError as error:
        raise UsageError(f"--report: {error.filename}: {error.strerror}") from error
    print(report.table(result))
    print(f"{result.summary}; {report.write(result, options.report)}")
    return 0 if result.passed else FAILED


def _model(options: argparse.Namespace) -> str:
    return str(options.dummy_weights or options.model or embedded_checkpoint())


def _config(options: argparse.Namespace) -> EngineConfig:
    given = {name: getattr(options, name) for name in TAKEN}
    most = options.max_speeches
    return EngineConfig(**given, max_speeches=most, dummy_weights=options.dummy_weights is not None)


CHECK = Command("prove a checkpoint on this machine", _add_check)
