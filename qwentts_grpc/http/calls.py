"""What is open in this process, turns foremost: counted, bounded."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from qwentts_grpc.http.errors import RETRY_AFTER, RefusedError


@dataclass(eq=False)
class Call:
    """One turn. `started`: whether the server has admitted it."""

    started: bool = False


class Calls:
    """At most `most` open turns."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: set[Call] = set()

    @property
    def speaking(self) -> int:
        """Turns that the server has admitted."""
        return sum(call.started for call in self._open)

    @property
    def waiting(self) -> int:
        """Turns that wait for the server."""
        return len(self._open) - self.speaking

    @contextmanager
    def open(self) -> Iterator[Call]:
        """Count a turn while it is open; raises `RefusedError`."""
        if len(self._open) >= self._most:
            raise RefusedError(429, f"{self._most} such calls are open already", retry=RETRY_AFTER)
        call = Call()
        self._open.add(call)
        try:
            yield call
        finally:
            self._open.discard(call)
