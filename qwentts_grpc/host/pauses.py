"""Pauses of this process, with their likely causes.

A thread that should wake every few milliseconds measures its delays.
"""

import gc
import logging
import os
import resource
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from typing import Literal

Cause = Literal["collection", "interpreter_lock", "page_faults", "processor_taken", "steal", "stopped"]
CAUSES: tuple[Cause, ...] = ("collection", "interpreter_lock", "page_faults", "processor_taken", "steal", "stopped")

PERIOD = 0.005  # seconds between two checks
LEAST = 0.008  # seconds late that count as a pause
STOLEN_EVERY = 25  # checks between two readings of the time stolen, while nothing is late
LOG_EVERY = 10.0  # seconds between two lines of log
TICK = 1 / os.sysconf("SC_CLK_TCK")  # seconds in the unit of /proc/stat

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Readings:
    """Counters in seconds since some start.

    Waits for a processor of the watcher's thread and of the main one, collections, time
    stolen from this machine, processor time of this process; `faults` are page faults that went to a disk.
    """

    waited: float
    main_waited: float
    collected: float
    stolen: float
    worked: float
    faults: int

    def __sub__(self, before: "Readings") -> "Readings":
        return Readings(
            self.waited - before.waited,
            self.main_waited - before.main_waited,
            self.collected - before.collected,
            self.stolen - before.stolen,
            self.worked - before.worked,
            self.faults - before.faults,
        )


def likely_cause(late: float, during: Readings) -> Cause:
    """Largest contribution to a pause of `late` seconds.

    From the readings before and after it.
    A steal shows as waiting for a processor too, and a collection holds the interpreter's lock: those come first.
    """
    half = late / 2
    if during.collected >= half:
        return "collection"
    if during.stolen >= half:
        return "steal"
    if during.faults:
        return "page_faults"
    if max(during.waited, during.main_waited) >= half:
        return "processor_taken"
    return "interpreter_lock" if during.worked >= half else "stopped"


class PauseWatcher:
    """Calls `report(seconds, cause)` for each long pause.

    One of `LEAST` seconds or more; on a thread of the watcher's.
    """

    def __init__(self, report: Callable[[float, Cause], None]) -> None:
        self._report = report
        self._stopped = False
        self._collections = _Collections()
        self._logged = -LOG_EVERY
        self._unlogged = 0
        self._thread = threading.Thread(target=self._watch, name="pauses", daemon=True)

    def start(self) -> None:
        """Watch until `stop`."""
        gc.callbacks.append(self._collections)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; returns within a few periods."""
        self._stopped = True
        self._thread.join(1.0)
        with suppress(ValueError):
            gc.callbacks.remove(self._collections)

    def _watch(self) -> None:
        with closing(_Reader(self._collections)) as read:
            self._compare(read)

    def _compare(self, read: "_Reader") -> None:
        before, due = read(late=False), time.monotonic() + PERIOD
        while not self._stopped:
            time.sleep(max(0.0, due - time.monotonic()))  # an event's wait costs three times as much
            now = time.monotonic()
            after = read(late=now - due >= LEAST)
            if now - due >= LEAST:
                self._note(now - due, likely_cause(now - due, after - before))
            before, due = after, now + PERIOD

    def _note(self, late: float, cause: Cause) -> None:
        self._report(late, cause)
        self._unlogged += 1
        now = time.monotonic()
        if now - self._logged >= LOG_EVERY:
            log.warning("paused %.0f ms: %s (%d pauses since the last such line)", 1e3 * late, cause, self._unlogged)
            self._logged, self._unlogged = now, 0


class _Collections:
    """Seconds spent in garbage collections; a callback of `gc`."""

    def __init__(self) -> None:
        self._ended = 0.0
        self._began: float | None = None

    def __call__(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._began = time.perf_counter()
        elif self._began is not None:
            self._ended, self._began = self._ended + time.perf_counter() - self._began, None

    @property
    def seconds(self) -> float:
        """Total seconds, a running collection included.

        The watcher may get the lock before the end of one is noted.
        """
        began = self._began
        return self._ended + (0.0 if began is None else time.perf_counter() - began)


class _Reader:
    """Reads the counters, on the watched thread."""

    def __init__(self, collections: _Collections) -> None:
        self._collections = collections
        self._files = ExitStack()
        self._own = self._opened(f"/proc/self/task/{threading.get_native_id()}/schedstat")
        self._main = self._opened(f"/proc/self/task/{os.getpid()}/schedstat")
        self._machine = self._opened("/proc/stat")  # a long file on a machine of many processors, so not read each time
        self._looks = 0
        self._last_stolen = 0.0
        self._stolen(late=True)

    def __call__(self, late: bool) -> Readings:
        """`late`: read the time stolen now.

        Otherwise it is at most `STOLEN_EVERY` readings old.
        """
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_majflt
        stolen = self._stolen(late)
        return Readings(
            _waited(self._own()),
            _waited(self._main()),
            self._collections.seconds,
            stolen,
            time.process_time(),
            faults,
        )

    def close(self) -> None:
        """Close the files."""
        self._files.close()

    def _opened(self, path: str) -> Callable[[], bytes]:
        """Reader of a /proc file, opened once; empty if missing."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return lambda: b""
        self._files.callback(os.close, descriptor)
        return lambda: os.pread(descriptor, 4096, 0)

    def _stolen(self, late: bool) -> float:
        self._looks += 1
        if late or self._looks >= STOLEN_EVERY:
            self._looks = 0
            cpu = self._machine().split(b"\n", 1)[0].split()
            self._last_stolen = int(cpu[8]) * TICK if len(cpu) > 8 else 0.0
        return self._last_stolen


def _waited(schedstat: bytes) -> float:
    """Seconds on a run queue, from a thread's schedstat.

    Its fields: nanoseconds on a processor, nanoseconds waiting, time slices.
    """
    fields = schedstat.split()
    return int(fields[1]) / 1e9 if len(fields) > 1 else 0.0
