"""Audit log of operations on recordings or created voices.

One line each, with neither text nor audio.
"""

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from engine.api.errors import EngineError
from qwentts_grpc.rpc.call import Call
from qwentts_grpc.telemetry import log_floods
from qwentts_grpc.wire.errors import Internal

LONGEST_NAME = 64  # characters of a voice's name; a longer one is not a valid name

log = logging.getLogger(__name__)

Result = TypeVar("Result")


@dataclass(slots=True)
class AuditEntry:
    """An audited operation.

    `event`: create, replace, delete, or clone (a recording for one turn). `audio_sha256`: of the recording's file, in
    hex.
    """

    event: str
    voice: str = ""
    shared: bool = False
    audio_sha256: str = ""
    consent_reference: str = ""


class AuditLog:
    """Appends JSON lines to the file at `path`.

    The file is opened anew for each line, so that it may be renamed at any time. The process's own log gets a line of
    each operation too, without names that callers gave; of many failed ones it has some, plus their number.
    """

    def __init__(self, path: Path | None) -> None:
        """Raises OSError where `path` is not writable."""
        self._path = path
        if path is not None:
            os.close(_open(path))

    @asynccontextmanager
    async def entry(self, call: Call, entry: AuditEntry) -> AsyncIterator[AuditEntry]:
        """Append `entry` when the body ends, with its outcome.

        Raises `Internal` before the body where the file cannot be opened, and after it where the write fails.
        """
        file = await _off_loop(self._opened)
        outcome = "INTERNAL"
        try:
            yield entry
            outcome = "OK"
        except EngineError as error:
            outcome = error.reason
            raise
        except asyncio.CancelledError:
            outcome = "CANCELLED"
            raise
        finally:
            extra = None if outcome == "OK" else log_floods.kind("failed audit entries")
            log.info("%s: %s, recording %s", entry.event, outcome, entry.audio_sha256[:16] or "unknown", extra=extra)
            line = _line(call, entry, outcome)
            await _off_loop(lambda: _append(file, line))

    def _opened(self) -> int | None:
        return None if self._path is None else _open(self._path)


async def _off_loop(work: Callable[[], Result]) -> Result:
    """Run blocking disk `work` on a thread, shielded from cancellation."""
    try:
        return await asyncio.shield(asyncio.to_thread(work))
    except OSError as error:
        log.critical("the audit log cannot be written: %s", error)
        raise Internal from error


def _open(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)


def _append(file: int | None, line: bytes) -> None:
    if file is None:
        return
    try:
        if os.write(file, line) < len(line):
            raise OSError("only a part of a line was taken")
    finally:
        os.close(file)


def _line(call: Call, entry: AuditEntry, outcome: str) -> bytes:
    fields = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "tenant": call.caller.name,
        "peer": call.caller.peer,
        "request_id": call.request_id,
        **asdict(entry),
        "voice": entry.voice[:LONGEST_NAME],
        "outcome": outcome,
    }
    return json.dumps(fields).encode() + b"\n"
