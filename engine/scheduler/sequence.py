"""One speech in the scheduler: segments, slot, blocks, waits."""

import time
from collections import deque
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field
from itertools import islice

from engine.api.events import FinishReason
from engine.api.request import SpeechRequest, TextMode
from engine.prompt.builder import PromptLayout
from engine.prompt.splitter import TextSplitter
from engine.prompt.text_filter import MarkupFilter
from engine.prompt.token_stream import speakable
from engine.prompt.tokenizer import TextTokenizer
from engine.scheduler.outboxes import Outboxes
from engine.scheduler.playback import Playback
from engine.scheduler.runaway import RunawayDetector
from engine.scheduler.segment import Segment
from engine.scheduler.waits import Waits

Block = int
RESERVE = 1.0  # seconds of audio at the listener, below which incomplete text is spoken


@dataclass(eq=False, slots=True)
class Sequence:
    """State of one speech, owned by the event loop.

    `cached` positions are in the blocks; `taken` frames have reached the caller.
    """

    request: SpeechRequest
    seed: int
    layout: PromptLayout
    tokenizer: TextTokenizer
    guard: RunawayDetector
    splitter: TextSplitter = field(default_factory=TextSplitter)
    arrived: float = field(default_factory=time.monotonic)
    queued: float | None = None  # when it joined the queue, after its recording was encoded
    segments: deque[Segment] = field(default_factory=deque)
    segment: Segment = field(init=False)  # the current one, which is the first
    text_ended: bool = False
    slot: int | None = None
    blocks: list[Block] = field(default_factory=list)
    cached: int = 0
    slot_loaded: bool = False  # whether the slot is initialised for this segment
    warm: bool = False  # whether the slot's last codes are this segment's
    admitted: float | None = None
    lent: bool = False  # whether its slot has gone to another tenant, with fewer
    total_frames: int = 0  # of finished segments
    taken: int = 0
    tokens: int = 0  # of finished segments
    characters: int = 0
    speakable: bool = False  # whether any text so far is speakable
    playback: Playback = field(init=False)
    waits: Waits = field(default_factory=Waits)
    outboxes: Outboxes = field(default_factory=Outboxes)
    early: list[tuple[float, str | None]] = field(default_factory=list)  # text before the queue; None ends a segment
    markup: MarkupFilter | None = None  # None where markup stays
    finish: FinishReason = FinishReason.STOP  # of the turn: the last segment's other than STOP
    closed: bool = False
    frame_seconds: float = field(init=False)

    def __post_init__(self) -> None:
        self.frame_seconds = self.layout.config.frame_seconds
        self.playback = Playback(self.frame_seconds)
        self._open_segment(0, 0)

    @property
    def text_mode(self) -> TextMode:
        """Text mode of the next speakable segment, so far."""
        return next((segment for segment in self.segments if segment.speakable), self.segments[-1]).mode

    def set_layout(self, layout: PromptLayout) -> None:
        """Replace the layout, before the speech is queued."""
        self.layout = layout
        for segment in self.segments:
            segment.set_layout(layout)

    def append_text(self, text: str) -> None:
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
        self.text_ended = True

    def queue(self, now: float) -> None:
        """Join the queue, with the layout complete."""
        self.queued = now
        came = self._early_text()
        if came is not None:
            self.waits.record_text(0, came)

    def note_text(self, text: str | None, came: float) -> None:
        """Record when `text` came, if a frame waited for it.

        `text` None is the end of a segment.
        """
        if self.queued is None:
            self.early.append((came, text))
        elif self.waits.for_text and self.segment.finish is None and not self.starving:
            self.waits.record_text(self.total_frames + self.segment.launched, came)

    def next_segment(self) -> None:
        """Go on with the next segment, whose cache starts empty."""
        done = self.segments.popleft()
        self.total_frames += len(done.frames)
        self.tokens += done.tokens
        self.segment = self.segments[0]
        self.segment.first_frame = self.total_frames
        self.reset_slot()

    def reset_slot(self) -> None:
        """Clear the slot's state.

        The next entry starts from the prompt.
        """
        self.cached, self.slot_loaded, self.warm = 0, False, False

    @property
    def over(self) -> bool:
        """Whether the turn ends with the current segment."""
        return self.finish is not FinishReason.STOP or (self.text_ended and len(self.segments) == 1)

    @property
    def is_last_audio(self) -> bool:
        """Whether no audio can follow the current segment's.

        Flushes may still have to be answered.
        """
        unspoken = any(segment.speakable for segment in islice(self.segments, 1, None))
        return self.finish is not FinishReason.STOP or (self.text_ended and not unspoken)

    @property
    def needs_slot(self) -> bool:
        """Whether a slot would be of use.

        To begin, to go on, or to decode what has been made.
        """
        segment = self.segment
        undecoded = segment.finish is not None and segment.decoded < len(segment.frames)
        return self.admitted is None or undecoded or (segment.finish is None and segment.ready)

    @property
    def settled(self) -> bool:
        """Whether only frames can change its state.

        It is in the midst of a segment whose text is complete.
        """
        segment = self.segment
        return segment.finish is None and segment.ended and bool(segment.frames) and self.waits.starved_since is None

    @property
    def starving(self) -> bool:
        """Whether only missing text holds it up.

        Even text that will be skipped counts.
        """
        segment = self.segment
        return not segment.ended and (not segment.ready if segment.finish is None else not self.over)

    def slack(self, now: float) -> float | None:
        """Seconds until the listener runs dry, pending chunks included.

        None before the first chunk.
        """
        segment, slack = self.segment, self.playback.slack(now)
        coming = (segment.decoded - segment.delivered) * self.frame_seconds
        return slack + coming if slack is not None else coming or None

    def lead(self, now: float) -> float:
        """Seconds of audio made ahead of the listener.

        Or ahead of a caller that has stopped reading.
        """
        return (self._made - min(self.playback.played(now), self.taken)) * self.frame_seconds

    def ahead(self, now: float) -> bool:
        """Whether it is far enough ahead of its listener.

        Before the first chunk nothing holds it back.
        """
        if not self.playback.frames:
            return False
        return self.lead(now) >= self.request.delivery.max_lead or self._unread >= self.outboxes.most

    def paced(self, now: float) -> bool:
        """Whether it may pause.

        It is far enough ahead, or its text may still become whole.
        """
        return self.ahead(now) or self._patience(now) > 0

    def ready_in(self, now: float) -> float | None:
        """Seconds until playback alone ends the pause.

        None where the caller must read first.
        """
        if self._unread * self.frame_seconds >= self.request.delivery.max_lead or self._unread >= self.outboxes.most:
            return None
        return max(0.0, self.lead(now) - self.request.delivery.max_lead, self._patience(now))

    def _patience(self, now: float) -> float:
        """Seconds for which the segment's end can be awaited.

        The prompt then holds the text whole.
        """
        slack = self.slack(now) if self.segment.undecided else None
        return 0.0 if slack is None else slack - RESERVE

    @property
    def _made(self) -> int:
        return self.total_frames + self.segment.launched

    @property
    def _unread(self) -> int:
        return self._made - self.taken

    def _early_text(self) -> float | None:
        """When text before the queue allowed the first frame.

        None where it does not.
        """
        probe = Segment(self.layout, self.tokenizer, 0, 0)
        for came, text in self.early:
            if text is not None:
                probe.append(text)
            else:
                probe.end(None)
            if probe.finish is None and probe.ready:
                return came
            if probe.ended:
                probe = Segment(self.layout, self.tokenizer, 0, 0)
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
        self.segments.append(Segment(self.layout, self.tokenizer, number, self.total_frames, place))
        self.segment = self.segments[0]
