"""The text of a turn, aligned with its audio."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

from livekit.agents.types import TimedString

from qwentts_client import Flush, SegmentDone

PAUSE = 0.5  # seconds without text after which a sentence counts as complete
SENTENCE_END = re.compile(r"""[.!?…。！？]["'”’»)\]]*\s*$""")


def speakable(text: str) -> bool:
    """Whether the text has a letter or number to speak."""
    return any(map(str.isalnum, text))


class Transcript:
    """Text of a turn, with how much has been reported."""

    def __init__(self, pieces: AsyncIterator[str]) -> None:
        self.text = ""
        self._pieces = pieces
        self._reported = 0

    async def begin(self) -> bool:
        """Read up to the first word.

        False where the text ends without one.
        """
        while not speakable(self.text):
            piece = await anext(self._pieces, None)
            if piece is None:
                return False
            self.text += piece
        return True

    async def __aiter__(self) -> AsyncIterator[str | Flush]:
        """Text, with flushes at pauses after a sentence."""
        yield self.text
        while True:
            coming = asyncio.ensure_future(anext(self._pieces, None))
            try:
                if SENTENCE_END.search(self.text) and not (await asyncio.wait({coming}, timeout=PAUSE))[0]:
                    yield Flush()
                piece = await coming
            finally:
                coming.cancel()
            if piece is None:
                return
            self.text += piece
            yield piece

    def spoken(self, segment: SegmentDone) -> TimedString:
        """A segment's text with its place in the audio."""
        text = self.text[self._reported : segment.text_end]
        self._reported = max(self._reported, segment.text_end)
        start, end = segment.start_pts.ToNanoseconds() / 1e9, segment.end_pts.ToNanoseconds() / 1e9
        return TimedString(text, start_time=start, end_time=end)
