"""Bound on unread audio, a speech or an engine."""

from engine.api.request import SAMPLES_PER_FRAME

FRAME_BYTES = 2 * SAMPLES_PER_FRAME + 16 * 4  # of 16-bit samples, and of codes
LEAST = 64  # frames for every speech: a prompt reader's chunks, launched ahead of the codec


class Outboxes:
    """Count of frames that wait for their callers.

    Belongs to the event loop's thread.
    A speech may have as many unread as are free in all, so that many callers that do not read share the room and leave
    some to the next (dynamic thresholds: Choudhury, Hahne 1998). Prompt readers need none of it.
    """

    def __init__(self, per_speech: int = 750, total: int = 2**26 // FRAME_BYTES) -> None:
        self.held = 0
        self._per_speech, self._total = per_speech, total

    def put(self, frames: int) -> None:
        """Add `frames` to the unread; negative when taken."""
        self.held += frames

    @property
    def most(self) -> int:
        """Frames that one speech may have untaken at this moment."""
        return max(LEAST, min(self._per_speech, self._total - self.held))
