"""Events of a speech, in the order of iteration."""

from dataclasses import dataclass, field
from enum import Enum

from engine.api.lateness import LatenessTotals
from engine.api.request import TextMode
from engine.api.types import Codes, Pcm


class FinishReason(Enum):
    """Reason for the end of a speech."""

    STOP = "stop"  # the model ended it
    CANCELLED = "cancelled"  # by the caller
    LENGTH = "length"  # max_frames, or the cap for this much text
    GUARD = "guard"  # the runaway guard


class NoticeCode(Enum):
    """Conditions worth reporting that change no audio."""

    DRAINING = "draining"
    TEXT_STARVED = "text_starved"
    PACED = "paced"


@dataclass(frozen=True, slots=True)
class Started:
    """First event: the speech has its slot.

    `queue_wait` in seconds. `text_mode`: where the text of the first segment goes, as far as its text has come by now.
    """

    seed: int
    queue_wait: float
    text_mode: TextMode = TextMode.INCREMENTAL


@dataclass(frozen=True, slots=True)
class AudioChunk:
    """Consecutive frames, decoded.

    `pcm`: int16 mono at the checkpoint's sample rate, `frame_samples * frames` samples (1920 a frame at 24 kHz).
    `first_frame` counts from the start of the turn.
    `codes`: the (frames, code groups) integers that the audio was decoded from. `last` marks the turn's final
    chunk, which may hold no audio. `sampled_at`: `time.monotonic()` when its last frame was sampled.
    """

    pcm: Pcm
    codes: Codes
    first_frame: int
    segment: int
    last: bool
    sampled_at: float


@dataclass(frozen=True, slots=True)
class SegmentDone:
    """End of a segment; follows its last chunk.

    `text_start` to `text_end` are offsets into the turn's text, `first_frame` and `frames` its place in the turn.
    """

    segment: int
    text_start: int
    text_end: int
    first_frame: int
    frames: int
    text_mode: TextMode


@dataclass(frozen=True, slots=True)
class FlushDone:
    """End of all audio before `flush(mark)`; follows its last chunk."""

    mark: str
    segment: int


@dataclass(frozen=True, slots=True)
class Notice:
    """Remark on the running speech.

    Each code is sent once per occurrence, never per frame.
    """

    code: NoticeCode
    message: str


@dataclass(frozen=True, slots=True)
class Finished:
    """Last event: totals of the speech.

    Times in seconds since the request arrived; `longest_gap` between two chunks taken by the caller.
    `server_first_audio`: of `time_to_first_audio`, what came after the text allowed it. `underruns` counts chunks
    taken after ideal playback had run dry, with no buffer at the listener; `lateness` splits them by cause. `work`:
    time in which the speech had its slot, its text, and room ahead of playback.
    """

    reason: FinishReason
    frames: int
    text_characters: int
    text_tokens: int
    seed: int
    queue_wait: float
    time_to_first_audio: float
    total_time: float
    longest_gap: float = 0.0
    underruns: int = 0
    server_first_audio: float = 0.0
    work: float = 0.0
    lateness: LatenessTotals = field(default_factory=LatenessTotals)


Event = Started | AudioChunk | SegmentDone | FlushDone | Notice | Finished
