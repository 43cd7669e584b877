"""One segment of text: its prompt, its frames so far."""

from engine.api.events import FinishReason
from engine.api.request import TextMode
from engine.prompt import prompt_tokens
from engine.prompt.builder import ROLE, PromptLayout
from engine.prompt.prompt_tokens import PromptToken
from engine.prompt.token_stream import TokenStream, speakable
from engine.prompt.tokenizer import TextTokenizer

# A runaway ends at 8 s plus 2 s a text token; speech of real text needs less than a fifth of that.
CAP_SECONDS = 8.0
CAP_SECONDS_PER_TOKEN = 2.0


class Segment:
    """Text between flushes or cuts, with its frames.

    Position p of the talker holds `prefix[p]`, and after the prefix the pair (text[i], codes[i]); see `prompt_tokens`.
    """

    def __init__(
        self, layout: PromptLayout, tokenizer: TextTokenizer, number: int, first_frame: int, text_start: int = 0
    ) -> None:
        self.number = number  # flushes before it
        self.first_frame = first_frame  # in the turn
        self.text_start = self.text_end = text_start  # offsets into the turn's text, the end once it has ended
        self.mark: str | None = None  # of the flush that ended it
        self.ended = False
        self.speakable = False  # whether any text so far is speakable
        self.frames: list[tuple[int, ...]] = []
        self.launched = 0  # frames launched, ahead of `frames` by those in flight
        self.decoded = 0  # frames launched in the codec
        self.delivered = 0  # frames whose audio is back
        self.finish: FinishReason | None = None
        self.spoken = False  # whether the model ended it after all its text
        self._layout = layout
        self._final_ids: list[int] = []
        self._unread = ""
        self._stream = TokenStream(tokenizer)
        self._fixed_mode: TextMode | None = None  # text mode, fixed by the first prefill
        self._prefix: list[PromptToken] | None = None
        self._start = 0  # position of the first frame's input, set with the prefix
        self._ids_complete = False  # whether `_final_ids` is complete
        self._last_text: int | None = None  # frame that follows all text, once text and mode are fixed
        self._cap: int | None = None  # once the text is complete
        self._input_codes = ((layout.config.codec.bos,), *layout.voice.frames)

    def set_layout(self, layout: PromptLayout) -> None:
        """Replace the layout, before any token has been prefilled."""
        assert self._prefix is None
        self._layout = layout
        self._input_codes = ((layout.config.codec.bos,), *layout.voice.frames)

    def append(self, text: str) -> None:
        """Append text; legal until `end`."""
        assert not self.ended
        self.speakable = self.speakable or speakable(text)
        self._unread += text

    def end(self, mark: str | None, text_end: int = 0) -> None:
        """End the text; without speakable text the segment is finished.

        `mark` names the flush that ended it, `text_end` is an offset into the turn's text.
        """
        self.ended, self.mark, self.text_end = True, mark, text_end
        if not self.speakable:
            self.finish = FinishReason.STOP
        if self._fixed_mode is None:
            self._prefix = None  # the text mode may change, now that the text is complete

    @property
    def tokens(self) -> int:
        """Text tokens so far; none where nothing is speakable."""
        return max(0, len(self._ids) - ROLE) if self.speakable else 0

    @property
    def cap(self) -> int:
        """Frames after which this much text counts as a runaway."""
        if self._cap is not None:
            return self._cap
        cap = round((CAP_SECONDS + CAP_SECONDS_PER_TOKEN * self.tokens) / self._layout.config.frame_seconds)
        self._cap = cap if self._ids_complete else None
        return cap

    @property
    def mode(self) -> TextMode:
        """Text mode, fixed by the first prefill.

        Before, it follows from the text so far.
        """
        chosen = self._fixed_mode or self._layout.mode
        if chosen is not None:
            return chosen
        return TextMode.WHOLE if self.ended and self.tokens <= self._layout.whole_tokens else TextMode.INCREMENTAL

    @property
    def undecided(self) -> bool:
        """Whether the mode would change if the text were complete."""
        return self._fixed_mode is None and self._layout.mode is None and not self.ended

    @property
    def ready(self) -> bool:
        """Whether the next frame's input is complete."""
        return self._ids_complete or (self.prefix is not None and self._text(self._index(self.launched)) is not None)

    @property
    def text_consumed(self) -> bool:
        """Whether the next frame follows all text, end-of-text included."""
        last = self._last_text
        return self._consumed(self.launched) if last is None else self.launched >= last

    def stop(self) -> None:
        """Finish the segment after its frames so far."""
        self.finish, self.spoken = FinishReason.STOP, self._consumed(len(self.frames))

    @property
    def prefix(self) -> list[PromptToken] | None:
        """Tokens before text plus codes; None while incomplete.

        Needs enough text, some of it speakable.
        """
        if self._prefix is not None:
            return self._prefix
        if self.speakable and (self.ended if self._whole else len(self._ids) >= ROLE):
            self._prefix = self._build_prefix()
            self._start = len(self._prefix) + self._index(0)
        return self._prefix

    @property
    def position(self) -> int:
        """Position of the next frame's input.

        All tokens before it belong in the cache.
        """
        if self._prefix is None:
            assert self.prefix is not None
        return self._start + self.launched

    def inputs(self, start: int, stop: int) -> list[PromptToken]:
        """Inputs at positions start...stop-1; fixes the text mode."""
        self._fixed_mode = self.mode
        self._fix_last_text()
        return [self._token(position) for position in range(start, stop)]

    def next_text(self) -> int:
        """Text id of the next frame; legal while ready."""
        if self._last_text is not None and self.launched > self._last_text:
            return self._layout.config.text.tts_pad
        text = self._text(self._index(self.launched))
        assert text is not None
        return text

    def last_codes(self) -> tuple[int, ...]:
        """Codes of the next frame's input.

        Legal with no frame in flight.
        """
        return self._codes(self._index(self.launched))

    @property
    def complete(self) -> bool:
        """Whether all its audio is back, its text over.

        Text that comes after its end is skipped.
        """
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
        """Final ids of the heading with the text so far.

        They are made at the first use, in the segment's own turn: a long text all at once would hold up
        the steps of others.
        """
        if self._unread:
            text, self._unread = self._unread, ""
            self._final_ids += self._stream.push(text)
        if self.ended and not self._ids_complete:
            self._final_ids += self._stream.end()
            self._ids_complete = True
            self._fix_last_text()
        return self._final_ids

    @property
    def _whole(self) -> bool:
        return self.mode is TextMode.WHOLE

    @property
    def _texts(self) -> int:
        """Length of the text side.

        None in whole mode, else reference, body and end-of-text.
        """
        return 0 if self._whole else len(self._layout.reference_text) + self.tokens + int(self.ended)

    def _fix_last_text(self) -> None:
        """Fix the last frame with a text of its own.

        When nothing can change it any more.
        """
        if self._ids_complete and self._fixed_mode is not None:
            self._last_text = self._texts - len(self._input_codes)

    def _consumed(self, frame: int) -> bool:
        return self.ended and self._index(frame) >= self._texts - 1

    def _index(self, frame: int) -> int:
        return len(self._input_codes) - 1 + frame

    def _token(self, position: int) -> PromptToken:
        assert self.prefix is not None
        if position < len(self.prefix):
            return self.prefix[position]
        index = position - len(self.prefix)
        text = self._text(index)
        assert text is not None
        return PromptToken(text, self._codes(index))

    def _codes(self, index: int) -> tuple[int, ...]:
        generated = index - len(self._input_codes)
        return self._input_codes[index] if generated < 0 else self.frames[generated]

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
