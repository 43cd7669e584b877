"""Policy of chunk sizes.

Few frames a chunk while the listener waits for them, more once there is time. Sizes and budgets are in frames of any
length: what is captured and what a call costs; `SHORT`, slack and patience are in seconds.
"""

SIZES = (1, 2, 4, 8, 12)  # the codec runs at these sizes alone, so that each can be captured as a graph
LARGEST = (0, 1, 2, 2, 4, 4, 4, 4, 8, 8, 8, 8, 12)  # largest size up to the index, in frames

MOST_PENDING = 48  # frames of one speech that may wait for the codec
STEP_FRAMES = 400  # a step's codec budget, each call counted as CALL_FRAMES more: bounds how long other frames wait
CALL_FRAMES = 24  # cost of one call beside its frames, in frames
SHORT = 0.3  # seconds of slack, below which a chunk is decoded beside first ones


def fit(frames: int) -> int:
    """Smallest size that holds `frames`.

    The surplus is cut from the audio, which causality makes exact.
    """
    return next(size for size in SIZES if size >= frames)


def most_streams(budget: int, size: int) -> int:
    """Streams that may share one more codec call.

    Their chunks have `size` frames; the step has `budget` left.
    """
    return max(0, budget - CALL_FRAMES) // size


def patience(slack: float, waited: float) -> float:
    """Seconds for which a later chunk can await more frames.

    `slack`: seconds until the listener runs dry. The wait lasts until a third of what the last chunk left, `waited`
    seconds ago, is gone: twice as long stays for all that may hold it up.
    """
    return (slack + waited) / 3 - waited


def due(pending: int, enough: int, largest: int) -> int:
    """Frames to decode now out of `pending`.

    0 until there are `enough`.
    """
    if pending < _largest_size(min(enough, largest)):
        return 0
    return _largest_size(min(pending, largest))


def _largest_size(limit: int) -> int:
    return LARGEST[min(limit, SIZES[-1])]
