"""Text of one turn, as segments."""

from collections import deque
from collections.abc import Iterable
from collections.abc import Sequence as SequenceOf
from itertools import islice

from engine.api.request import TextMode
from engine.prompt.builder import PromptLayout
from engine.prompt.splitter import TextSplitter
from engine.prompt.text_filter import MarkupFilter
from engine.prompt.token_stream import speakable
from engine.prompt.tokenizer import TextTokenizer
from engine.scheduler.segment import Segment


class TurnText:
    """Segments of a turn's text.

    Flushes end them, long text is cut.
    `segments` has the current one first, text goes to the last. `markup`: None where markup stays in the text.
    """

    def __init__(
        self,
        layout: PromptLayout,
        tokenizer: TextTokenizer,
        splitter: TextSplitter | None = None,
        markup: MarkupFilter | None = None,
    ) -> None:
        self.tokenizer, self.splitter, self.markup = tokenizer, splitter or TextSplitter(), markup
        self.segments: deque[Segment] = deque()
        self.characters = 0
        self.speakable = False  # whether any text so far is speakable
        self.ended = False
        self._layout = layout
        self._open_segment(0, 0)

    @property
    def mode(self) -> TextMode:
        """Text mode of the next speakable segment, so far."""
        return next((segment for segment in self.segments if segment.speakable), self.segments[-1]).mode

    @property
    def unspoken(self) -> bool:
        """Whether a segment after the current one is speakable."""
        return any(segment.speakable for segment in islice(self.segments, 1, None))

    def set_layout(self, layout: PromptLayout) -> None:
        """Replace the layout, before any token has been prefilled."""
        self._layout = layout
        for segment in self.segments:
            segment.set_layout(layout)

    def append(self, text: str) -> None:
        """Append text to the newest segment.

        A long text goes on in further segments.
        """
        start, self.characters = self.characters, self.characters + len(text)
        if self.markup is None:
            self._append(text, range(start, self.characters))
        else:
            self._append(*self.markup.push(text))

    def drain(self) -> None:
        """Append text that the markup filter still holds."""
        if self.markup is not None:
            self._append(*self.markup.end())

    def flush(self, mark: str) -> None:
        """End the newest segment; open the next."""
        self.drain()
        self.splitter.restart()
        self._next_segment(mark, self.characters)

    def end(self) -> None:
        """End the text."""
        self.drain()
        self.segments[-1].end(None, self.characters)
        self.ended = True

    def ready_since(self, arrivals: Iterable[tuple[float, str | None]]) -> float | None:
        """When text, in pieces with their moments, allowed a frame.

        None as text ends a segment. None is returned where no frame is possible yet.
        """
        probe = self._new_segment(0, 0)
        for came, text in arrivals:
            if text is not None:
                probe.append(text)
            else:
                probe.end(None)
            if probe.finish is None and probe.ready:
                return came
            if probe.ended:
                probe = self._new_segment(0, 0)
        return None

    def _append(self, text: str, places: SequenceOf[int]) -> None:
        """Append filtered text.

        `places`: offsets of its characters in the turn's text.
        """
        self.speakable = self.speakable or speakable(text)
        first, *more = self.splitter.split(text)
        self.segments[-1].append(first)
        at = len(first)
        for part in more:
            self._next_segment(None, places[at])
            self.segments[-1].append(part)
            at += len(part)

    def _next_segment(self, mark: str | None, place: int) -> None:
        """End the newest segment at offset `place`; open the next.

        `mark` is that of a flush, None at a cut.
        """
        last = self.segments[-1]
        last.end(mark, place)
        self._open_segment(last.number + (mark is not None), place)

    def _open_segment(self, number: int, place: int) -> None:
        self.segments.append(self._new_segment(number, place))

    def _new_segment(self, number: int, place: int) -> Segment:
        return Segment(self._layout, self.tokenizer, number, 0, place)
