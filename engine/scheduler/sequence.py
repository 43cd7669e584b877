"""One speech in the scheduler: slot, blocks, waits, lead."""

import time
from dataclasses import dataclass, field

from engine.api.events import FinishReason
from engine.api.request import SpeechRequest
from engine.prompt.builder import PromptLayout
from engine.scheduler.outboxes import Outboxes
from engine.scheduler.playback import Playback
from engine.scheduler.runaway import RunawayDetector
from engine.scheduler.segment import Segment
from engine.scheduler.turn_text import TurnText
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
    text: TurnText
    guard: RunawayDetector
    arrived: float = field(default_factory=time.monotonic)
    queued: float | None = None  # when it joined the queue, after its recording was encoded
    segment: Segment = field(init=False)  # the current one, the first of the text's
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
    playback: Playback = field(init=False)
    waits: Waits = field(default_factory=Waits)
    outboxes: Outboxes = field(default_factory=Outboxes)
    early: list[tuple[float, str | None]] = field(default_factory=list)  # text before the queue; None ends a segment
    finish: FinishReason = FinishReason.STOP  # of the turn: the last segment's other than STOP
    closed: bool = False
    frame_seconds: float = field(init=False)

    def __post_init__(self) -> None:
        self.frame_seconds = self.layout.config.frame_seconds
        self.playback = Playback(self.frame_seconds)
        self.segment = self.text.segments[0]

    def set_layout(self, layout: PromptLayout) -> None:
        """Replace the layout, before the speech is queued."""
        self.layout = layout
        self.text.set_layout(layout)

    def queue(self, now: float) -> None:
        """Join the queue, with the layout complete."""
        self.queued = now
        came = self.text.ready_since(self.early)
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
        done = self.text.segments.popleft()
        self.total_frames += len(done.frames)
        self.tokens += done.tokens
        self.segment = self.text.segments[0]
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
        return self.finish is not FinishReason.STOP or (self.text.ended and len(self.text.segments) == 1)

    @property
    def is_last_audio(self) -> bool:
        """Whether no audio can follow the current segment's.

        Flushes may still have to be answered.
        """
        return self.finish is not FinishReason.STOP or (self.text.ended and not self.text.unspoken)

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
