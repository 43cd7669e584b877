"""Detection of runaway generation: long silence, or periodic codes."""

from collections import deque
from collections.abc import Sequence

from engine.api.types import Frame, Pcm

QUIET = 100  # int16 steps: 50 dB under full scale, below any breath or room
LONGEST_PERIOD = 2.0  # seconds


class RunawayDetector:
    """Detector for one speech.

    Human speech, pauses included, is neither silent nor periodic for `seconds` on end.
    """

    def __init__(self, seconds: float, frame_seconds: float) -> None:
        """`seconds` of either before it is a runaway; 0 disables."""
        self._limit = round(seconds / frame_seconds)
        self._spoken = False
        self._quiet = 0  # frames of silence up to now
        self._recent: deque[Frame] = deque(maxlen=round(LONGEST_PERIOD / frame_seconds))
        self._period = 1
        self._same = 0  # frames up to now that equal those of a period before

    def update(self, frames: Sequence[Frame], pcm: Pcm) -> bool:
        """Add frames with their audio; True for a runaway."""
        if not self._limit or not frames:
            return False
        self._update_silence(len(frames), pcm)
        for codes in frames:
            self._update_period(codes)
        return self._quiet >= self._limit or self._same >= self._limit

    def _update_silence(self, frames: int, pcm: Pcm) -> None:
        if max(pcm.max(), -int(pcm.min())) > QUIET:
            self._spoken, self._quiet = True, 0
        elif self._spoken:
            self._quiet += frames

    def _update_period(self, codes: Frame) -> None:
        if len(self._recent) >= self._period and self._recent[-self._period] == codes:
            self._same += 1
        else:
            self._same = 0
            if codes in self._recent:
                self._period = 1 + list(reversed(self._recent)).index(codes)
                self._same = 1
        self._recent.append(codes)
