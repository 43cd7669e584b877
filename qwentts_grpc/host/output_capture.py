"""Captures standard output, standard error as lines.

Output of native code and child processes becomes log records.
"""

import fcntl
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

PIPE_BYTES = 1 << 20  # a native library that prints while it holds the interpreter must never block
LONGEST_LINE = 8_192  # bytes
CLOSE_TIMEOUT = 1.0  # seconds for the last lines


class OutputCapture:
    """Replaces descriptors 1, 2 by one pipe.

    `on_line` gets each line on a thread, `write` bypasses the pipe.
    """

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._saved = [os.dup(1), os.dup(2)]
        self._closed = False
        reading, writing = os.pipe()
        with suppress(OSError):  # the system's limit may be lower
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._point_to(writing, writing)
        os.close(writing)
        self._thread = threading.Thread(target=self._pump, args=(reading,), name="output", daemon=True)
        self._thread.start()

    @property
    def descriptors(self) -> tuple[int, int]:
        """The real descriptors 1, 2."""
        return self._saved[0], self._saved[1]

    def write(self, line: str, descriptor: int) -> None:
        """Write a whole line to the real descriptor.

        Raises OSError if its reader is gone.
        """
        rest = f"{line}\n".encode(errors="backslashreplace")
        while rest:
            rest = rest[os.write(self._saved[descriptor - 1], rest) :]

    def close(self) -> None:
        """Restore the descriptors after the pending lines."""
        if not self._closed:
            self._closed = True
            self._point_to(*self._saved)
            self._thread.join(CLOSE_TIMEOUT)

    def _point_to(self, output: int, error: int) -> None:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os.dup2(output, 1)
        os.dup2(error, 2)

    def _pump(self, reading: int) -> None:
        with os.fdopen(reading, errors="backslashreplace") as lines, suppress(OSError):
            while line := lines.readline(LONGEST_LINE):
                if line.strip():
                    self._on_line(line.rstrip())
