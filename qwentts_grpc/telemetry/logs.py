"""Logging: one line an event, with request id, fields.

Text and audio of users are never logged.
"""

import json
import logging
import os
import re
import sys
import threading
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal

from qwentts_grpc.host.output_capture import OutputCapture
from qwentts_grpc.telemetry.log_floods import FloodFilter
from qwentts_grpc.wire import caller

NO_REQUEST = "-"
_Exception = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
LONGEST_FIELD = 128  # characters
STDOUT, STDERR = 1, 2

request_id: ContextVar[str] = ContextVar("request_id", default=NO_REQUEST)

_PLAIN = re.compile(r"[\w.:/@%+-]+", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def fields(**values: object) -> dict[str, object]:
    """`extra` of a log call: fields of its JSON line.

    None is left out, text is truncated.
    """
    given = {name: value for name, value in values.items() if value is not None}
    return {"fields": {name: _bounded(value) for name, value in given.items()}}


def _bounded(value: object) -> object:
    match value:
        case str():
            return value[:LONGEST_FIELD]
        case float():
            return round(value, 4)
    return value


def call_fields() -> dict[str, str]:
    """Fields of the current call: id, tenant, peer, where present."""
    identity, current = caller.current.get(), request_id.get()
    values = {"request_id": "" if current == NO_REQUEST else current, "tenant": identity.name, "peer": identity.peer}
    return {name: value for name, value in values.items() if value}


class TextFormatter(logging.Formatter):
    """One line an event for people; an exception's lines follow."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s%(request)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        words = " ".join(map(_word, call_fields().values()))
        record.request = f" [{words}]" if words else ":"
        return super().format(record)

    def formatException(self, error: _Exception) -> str:
        """The trace, indented.

        A line at the margin is always an event.
        """
        lines = super().formatException(error).splitlines()
        return "\n".join(f"    {_escape(line)}" for line in lines)

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The message as one line."""
        return _escape(super().formatMessage(record))


def _word(text: str) -> str:
    """`text`, quoted unless one plain word.

    Ids and tenants may come from outside.
    """
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


def _escape(text: str) -> str:
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class JsonFormatter(logging.Formatter):
    """One JSON object a line, an exception's lines within it."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= call_fields()
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class CaptureHandler(logging.Handler):
    """Writes JSON lines to stderr, captured process output among them."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())
        self._capture = OutputCapture(self._line)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; it is lost where stderr is closed."""
        with suppress(OSError):
            self._capture.write(self.format(record), STDERR)

    @property
    def descriptors(self) -> tuple[int, int]:
        """Descriptors of standard outputs before their capture."""
        return self._capture.descriptors

    def announce(self, line: str) -> None:
        """Write to standard output."""
        with suppress(OSError):
            self._capture.write(self.format(_record(__name__, logging.INFO, line)), STDOUT)

    def close(self) -> None:
        """Restore both outputs."""
        self._capture.close()
        super().close()

    def _line(self, line: str) -> None:
        # Past the handler's lock, which logging.shutdown holds while it waits for the last lines.
        self.emit(_record("output", logging.WARNING, line))


def _record(logger: str, level: int, line: str) -> logging.LogRecord:
    return logging.LogRecord(logger, level, "", 0, line, None, None)


def announce(line: str) -> None:
    """Print a line to stdout, as JSON under JSON logs.

    For the parent process.
    """
    for handler in logging.root.handlers:
        if isinstance(handler, CaptureHandler):
            return handler.announce(line)
    print(line, flush=True)


def streams() -> tuple[int, int]:
    """Descriptors of the real outputs.

    For child processes with logs of their own.
    """
    for handler in logging.root.handlers:
        if isinstance(handler, CaptureHandler):
            return handler.descriptors
    return STDOUT, STDERR


def configure(level: str, form: Literal["text", "json"] = "text") -> None:
    """Configure the process's logging to stderr, warnings included.

    `level`: a name such as "info". As JSON nothing else gets there: output of libraries and uncaught exceptions become
    lines too.
    """
    for earlier in logging.root.handlers[:]:  # before the descriptors are replaced once more
        logging.root.removeHandler(earlier)
        earlier.close()
    handler: logging.Handler
    if form == "json":
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # the load progress has log lines of its own
        handler = CaptureHandler()
        _log_uncaught()
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(TextFormatter())
    handler.addFilter(FloodFilter())
    logging.basicConfig(level=level.upper(), handlers=[handler])
    logging.captureWarnings(True)


def _log_uncaught() -> None:
    def uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        logging.getLogger(__name__).critical("uncaught exception", exc_info=(kind, error, trace))

    def uncaught_in_thread(arguments: threading.ExceptHookArgs) -> None:
        if arguments.exc_value is not None:
            uncaught(arguments.exc_type, arguments.exc_value, arguments.exc_traceback)

    def unraisable(arguments: "sys.UnraisableHookArgs") -> None:
        if arguments.exc_value is not None:
            uncaught(arguments.exc_type, arguments.exc_value, arguments.exc_traceback)

    sys.excepthook = uncaught
    threading.excepthook = uncaught_in_thread
    sys.unraisablehook = unraisable
