"""Progress on stderr: one rewritten line on a terminal."""

import sys
import time
from contextlib import suppress

BAR = 24  # characters
PAUSE = 10.0  # seconds between lines where there is no terminal


class Line:
    """One rewritten line; silent without a terminal or with `quiet`."""

    def __init__(self, quiet: bool) -> None:
        self.live = sys.stderr.isatty() and not quiet
        self._shown = False

    def show(self, text: str) -> None:
        """Replace the line by `text`."""
        if self.live:
            self._shown = True
            print(f"\r{text}\x1b[K", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Keep the line as it is."""
        if self._shown:
            print(file=sys.stderr)
            self._shown = False


class Bar:
    """Progress over `total` jobs.

    A bar on a terminal, a line now and then elsewhere.
    """

    def __init__(self, total: int, done: int, quiet: bool) -> None:
        self._line, self._quiet = Line(quiet), quiet
        self._total, self._done, self._before = total, done, done
        self._seconds = 0.0
        self._began = self._said = time.monotonic()

    def advance(self, seconds: float) -> None:
        """Count one more job, with `seconds` of audio."""
        self._done += 1
        self._seconds += seconds
        self.show()

    def show(self) -> None:
        self._line.show(self._text())
        if not self._line.live and not self._quiet and time.monotonic() - self._said > PAUSE:
            self._said = time.monotonic()
            self.say(self._text())

    def say(self, text: str) -> None:
        """Print a permanent line above the bar."""
        self._line.show("")
        with suppress(BrokenPipeError):
            print(f"\r{text}" if self._line.live else text, file=sys.stderr)
        self._line.show(self._text())

    def end(self) -> None:
        """End the bar."""
        self._line.end()

    def _text(self) -> str:
        share = self._done / self._total if self._total else 1.0
        bar = "#" * round(BAR * share)
        taken = time.monotonic() - self._began
        fresh = self._done - self._before
        left = f", {_clock(taken / fresh * (self._total - self._done))} left" if fresh and share < 1 else ""
        return f"[{bar:.<{BAR}}] {self._done}/{self._total}, {self._seconds:.1f} s of audio in {taken:.1f} s{left}"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02}"
