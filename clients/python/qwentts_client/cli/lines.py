"""Standard input as text, line by line, in bounded turns."""

from collections.abc import AsyncIterator, Iterator

from qwentts_client.text import Flush, Piece
from qwentts_client.threads import from_thread

MOST_LINES, MOST_CHARACTERS = 1_000, 50_000  # of one turn; servers take 1,024 flushes and 60,000 characters
LONGEST_LINE = 5_000  # characters; a longer one is read in parts


class Lines:
    """Lines of standard input as they come.

    `more`: whether a further turn may follow.
    """

    def __init__(self) -> None:
        self.more = True
        self._lines = from_thread(_stdin())
        self._held: str | None = None

    async def turn(self, bounded: bool) -> AsyncIterator[Piece]:
        """The text of one turn, each line flushed.

        All of it, unless the turn is to be `bounded`.
        """
        lines = characters = 0
        line, self._held = self._held or await self._read(), None
        while line is not None:
            if bounded and (lines == MOST_LINES or characters > MOST_CHARACTERS):
                self._held = line
                return
            yield line
            characters += len(line)
            if line.endswith("\n") and line.strip():
                lines += 1
                yield Flush()
            line = await self._read()
        self.more = False

    async def _read(self) -> str | None:
        return await anext(self._lines, None)


def _stdin() -> Iterator[str]:
    with open(0, encoding="utf-8", errors="replace", closefd=False) as lines:
        while line := lines.readline(LONGEST_LINE):
            yield line
