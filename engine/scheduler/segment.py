"""One stretch of text, between flushes or cuts: its prompt as columns, and the frames made for it so far."""

from engine.api.events import FinishReason
from engine.api.request import TextMode
from engine.prompt import prompt_tokens
from engine.prompt.builder import ROLE, PromptLayout
from engine.prompt.prompt_tokens import PromptToken
from engine.prompt.token_stream import TokenStream, speakable
from engine.prompt.tokenizer import TextTokenizer

# A runaway ends at 8 s plus 2 s a text token; speech of real text needs less than a fifth of that.
CAP_FRAMES = 100
CAP_FRAMES_PER_TOKEN = 25


class Segment:
    """Position p of the talker holds `prefix[p]`, and after the prefix the pair (text[i], codes[i]); see `prompt`."""

    def __init__(
        self, layout: PromptLayout, tokenizer: TextTokenizer, number: int, first_frame: int, text_start: int = 0
    ) -> None:
        self.number = number  # of flushes before it
        self.first_frame = first_frame  # in the turn
        self.text_start = self.text_end = text_start  # offsets into the turn's text, the end once it has ended
        self.mark: str | None = None  # of the flush that ended it
        self.ended = False
        self.speakable = False  # whether anything in the text so far can be spoken
        self.frames: list[tuple[int, ...]] = []
        self.launched = 0  # frames given to the device, ahead of `frames` by those in flight
        self.decoded = 0  # frames given to the codec
        self.delivered = 0  # frames whose audio has come back
        self.finish: FinishReason | None = None
        self.spoken = False  # whether the model ended it, having read all its text
        self._layout = layout
        self._known: list[int] = []
        self._unread = ""
        self._stream = TokenStream(tokenizer)
        self._begun: TextMode | None = None  # where the text goes, once a column has been read
        self._prefix: list[PromptToken] | None = None
        self._start = 0  # position of the first frame's input, once the prefix is known
        self._all_known = False  # no id can follow those known
        self._spoken = ((layout.config.codec.bos,), *layout.voice.frames)

    def use(self, layout: PromptLayout) -> None:
        """Replace the layout, before any column has been read."""
        assert self._prefix is None
        self._layout = layout
        self._spoken = ((layout.config.codec.bos,), *layout.voice.frames)

    def append(self, text: str) -> None:
        """Append text; legal until `end`."""
        assert not self.ended
        self.speakable = self.speakable or speakable(text)
        self._unread += text

    def end(self, mark: str | None, text_end: int = 0) -> None:
        """No more text for this segment; `mark` names the flush that ended it. Without speakable text it is over."""
        self.ended, self.mark, self.text_end = True, mark, text_end
        if not self.speakable:
            self.finish = FinishReason.STOP
        if self._begun is None:
            self._prefix = None  # the text may go elsewhere, now that it is complete

    @property
    def tokens(self) -> int:
        """Text tokens known so far; none where nothing can be spoken."""
        return max(0, len(self._ids) - ROLE) if self.speakable else 0

    @property
    def cap(self) -> int:
        """Frames after which this much text counts as a runaway."""
        return CAP_FRAMES + CAP_FRAMES_PER_TOKEN * self.tokens

    @property
    def mode(self) -> TextMode:
        """Where the text goes; before a column has been read, as far as the text has come by now."""
        chosen = self._begun or self._layout.mode
        if chosen is not None:
            return chosen
        return TextMode.WHOLE if self.ended and self.tokens <= self._layout.whole_tokens else TextMode.INCREMENTAL

    @property
    def undecided(self) -> bool:
        """Whether the text would go elsewhere if it were complete."""
        return self._begun is None and self._layout.mode is None and not self.ended

    @property
    def ready(self) -> bool:
        """Whether the next frame's input is known."""
        return self._all_known or (self.prefix is not None and self._text(self._index(self.launched)) is not None)

    @property
    def text_consumed(self) -> bool:
        """Whether the talker has read all text, end-of-text included, before its next frame."""
        return self._consumed(self.launched)

    def stop(self) -> None:
        """The model ends the speech after the frames that it has made."""
        self.finish, self.spoken = FinishReason.STOP, self._consumed(len(self.frames))

    @property
    def prefix(self) -> list[PromptToken] | None:
        """Columns before text and codes run side by side; None until enough text is known, some of it speakable."""
        if self._prefix is not None:
            return self._prefix
        if self.speakable and (self.ended if self._whole else len(self._ids) >= ROLE):
            self._prefix = self._build_prefix()
            self._start = len(self._prefix) + self._index(0)
        return self._prefix

    @property
    def position(self) -> int:
        """Position of the next frame's input: all columns before it belong in the cache."""
        if self._prefix is None:
            assert self.prefix is not None
        return self._start + self.launched

    def inputs(self, start: int, stop: int) -> list[PromptToken]:
        """Columns at positions start...stop-1, all of them known; from here on it is decided where the text goes."""
        self._begun = self.mode
        return [self._column(position) for position in range(start, stop)]

    def next_text(self) -> int:
        """The text id that the next frame reads; known whenever the segment is ready."""
        text = self._text(self._index(self.launched))
        assert text is not None
        return text

    def last_codes(self) -> tuple[int, ...]:
        """The codes that the next frame reads; known whenever no frame is in flight."""
        return self._codes(self._index(self.launched))

    @property
    def complete(self) -> bool:
        """Whether all its audio has come back and no text of it can follow: what comes after its end is passed over."""
        over = self.finish is not None and (self.ended or self.finish is not FinishReason.STOP)
        return over and self.delivered >= len(self.frames)

    def _build_prefix(self) -> list[PromptToken]:
        layout = self._layout
        role = (layout.config.text.im_start, *self._ids[:ROLE])
        tokens = prompt_tokens.prefix(layout.config, role, layout.instruct, layout.language, layout.voice)
        if self._whole:
            tokens += prompt_tokens.whole_text(layout.config, (*layout.reference_text, *self._ids[ROLE:]))
        return tokens

    @property
    def _ids(self) -> list[int]:
        """Ids of the heading and the text, as far as they are certain.

        They are made when they are first asked for, in the segment's own turn: a long text all at once would hold up
        the steps of others.
        """
        if self._unread:
            text, self._unread = self._unread, ""
            self._known += self._stream.push(text)
        if self.ended and not self._all_known:
            self._known += self._stream.end()
            self._all_known = True
        return self._known

    @property
    def _whole(self) -> bool:
        return self.mode is TextMode.WHOLE

    @property
    def _texts(self) -> int:
        """Length of the text side: none in whole mode, else reference, body and end-of-text."""
        return 0 if self._whole else len(self._layout.reference_text) + self.tokens + int(self.ended)

    def _consumed(self, frame: int) -> bool:
        return self.ended and self._index(frame) >= self._texts - 1

    def _index(self, frame: int) -> int:
        return len(self._spoken) - 1 + frame

    def _column(self, position: int) -> PromptToken:
        assert self.prefix is not None
        if position < len(self.prefix):
            return self.prefix[position]
        index = position - len(self.prefix)
        text = self._text(index)
        assert text is not None
        return PromptToken(text, self._codes(index))

    def _codes(self, index: int) -> tuple[int, ...]:
        generated = index - len(self._spoken)
        return self._spoken[index] if generated < 0 else self.frames[generated]

    def _text(self, index: int) -> int | None:
        text, reference = self._layout.config.text, self._layout.reference_text
        if self._whole:
            return text.tts_pad
        if index < len(reference):
            return reference[index]
        body = index - len(reference) + ROLE
        if body < len(self._ids):
            return self._ids[body]
        if not self.ended:
            return None
        return text.tts_eos if body == len(self._ids) else text.tts_pad
