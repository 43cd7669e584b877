"""Progress log of a long task, every few seconds."""

import logging
import time
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Self

PERIOD = 3.0  # seconds between two lines

log = logging.getLogger(__name__)


class Progress:
    """Context of one task.

    `expect` and `advance` may be called on any thread.
    `unit`: what its parts are, "files" or "MB", say; empty for a task in one piece. Of no parts nothing is logged.
    """

    def __init__(self, task: str, unit: str = "", total: float = 0.0) -> None:
        self._task, self._unit = task, unit
        self._done, self._total = 0.0, total
        self._began = time.monotonic()
        self._lock, self._ended = Lock(), Event()

    def expect(self, parts: float = 1.0) -> None:
        """Add expected parts."""
        with self._lock:
            self._total += parts

    def advance(self, parts: float = 1.0) -> None:
        """Add finished parts."""
        with self._lock:
            self._done += parts

    def __enter__(self) -> Self:
        Thread(target=self._watch, name="progress", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if error is None:
            self._log()

    def _watch(self) -> None:
        while not self._ended.wait(PERIOD):
            self._log()

    def _log(self) -> None:
        seconds = round(time.monotonic() - self._began, 1)
        fields: dict[str, object] = {"task": self._task, "seconds": seconds}
        if not self._unit:
            log.info("%s: %.1f s", self._task, seconds, extra={"fields": fields})
        elif self._total:
            fields |= {"done": round(self._done), "total": round(self._total), "unit": self._unit}
            parts = f"{self._done:.0f} of {self._total:.0f} {self._unit}"
            log.info("%s: %s, %.1f s", self._task, parts, seconds, extra={"fields": fields})
