"""Bound on unread audio, a speech or an engine."""

CODES_BYTES = 16 * 4  # of a frame
LEAST = 64  # frames for every speech: a prompt reader's chunks, launched ahead of the codec


class Outboxes:
    """Count of frames that wait for their callers.

    Belongs to the event loop's thread.
    A speech may have as many unread as are free in all, so that many callers that do not read share the room and leave
    some to the next (dynamic thresholds: Choudhury, Hahne 1998). Prompt readers need none of it.
    """

    def __init__(self, per_speech: int = 750, total: int = 16_384) -> None:
        self.held = 0
        self._per_speech, self._total = per_speech, total

    def put(self, frames: int) -> None:
        """Add `frames` to the unread; negative when taken."""
        self.held += frames

    @property
    def most(self) -> int:
        """Frames that one speech may have untaken at this moment."""
        return max(LEAST, min(self._per_speech, self._total - self.held))
