"""How much audio may wait unread: for one speech, and for all of an engine."""

from engine.api.request import SAMPLES_PER_FRAME

FRAME_BYTES = 2 * SAMPLES_PER_FRAME + 16 * 4  # of 16-bit samples, and of codes
LEAST = 64  # frames for anyone: what a prompt reader's chunks need, launched ahead of the codec


class Outboxes:
    """Frames that wait to be taken. Belongs to the event loop's thread.

    A speech may have as many unread as are free in all, so that many callers who do not read share the room and leave
    some to the next (dynamic thresholds: Choudhury, Hahne 1998). Who reads promptly needs none of it.
    """

    def __init__(self, per_speech: int = 750, total: int = 2**26 // FRAME_BYTES) -> None:
        self.held = 0
        self._per_speech, self._total = per_speech, total

    def put(self, frames: int) -> None:
        """Count frames that wait now, or with a negative number no longer."""
        self.held += frames

    @property
    def most(self) -> int:
        """Frames that one speech may have made and its caller not taken, at this moment."""
        return max(LEAST, min(self._per_speech, self._total - self.held))
