"""How many frames to decode at a time: few while the listener's buffer is short, more as it fills."""

from engine.request import FRAME_SECONDS

SIZES = (1, 2, 4, 8, 12)  # the codec runs at these sizes alone, so that each can be captured as a graph

MOST_PENDING = 48  # frames of one speech that may wait for the codec
CALL_FRAMES = 96  # of one codec call over all its streams: bounds how long the others' next frames wait for it


def fit(frames: int) -> int:
    """The smallest size that holds `frames`; the surplus is cut from the audio, which causality makes exact."""
    return next(size for size in SIZES if size >= frames)


def most_streams(size: int) -> int:
    """Streams whose chunks of this size share one codec call."""
    return CALL_FRAMES // size


def due(pending: int, slack: float | None, first: int, largest: int) -> int:
    """Frames to decode now out of `pending`, or 0 to wait for more.

    `slack`: seconds until the listener runs dry, None before the first chunk, which waits for `first` frames. Later
    chunks wait for at most half of the slack, so that the next is there well before this one has been played.
    """
    enough = first if slack is None else max(1, int(slack / FRAME_SECONDS / 2))
    if pending < _largest_size(min(enough, largest)):
        return 0
    return _largest_size(min(pending, largest))


def _largest_size(limit: int) -> int:
    return max((size for size in SIZES if size <= limit), default=0)
