"""Policy of chunk sizes.

Few frames a chunk while the listener waits for them, more once there is time. Sizes and budgets are in frames of any
length: what is captured and what a call costs; `SHORT`, slack and patience are in seconds.
"""

from collections.abc import Iterable

from engine.scheduler.batch_builder import BatchBuilder
from engine.scheduler.sequence import Sequence

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


def plan_chunks(builder: BatchBuilder, by_urgency: Iterable[Sequence], now: float, step: float) -> None:
    """Add due codec calls, most urgent first.

    Chunks of one size share a call, for calls cost most.
    """
    counts = ((sequence, _frames_due(sequence, now, step)) for sequence in by_urgency if sequence.slot is not None)
    due = [(sequence, count) for sequence, count in counts if count > 0]
    budget = STEP_FRAMES
    while due:
        size, newcomers = fit(due[0][1]), due[0][0].slack(now) is None
        most, taken, left = most_streams(budget, size), 0, []
        for sequence, count in due:
            if taken < most and _joins(sequence, count, size):
                builder.add_chunk(sequence, count)
                taken += 1
            else:
                left.append((sequence, count))
        if not taken:
            return
        budget -= CALL_FRAMES + size * taken
        # All audio of a step comes out together, so first chunks wait for no others that have time.
        due = [entry for entry in left if _soon_dry(entry[0], now)] if newcomers else left


def _frames_due(sequence: Sequence, now: float, step: float) -> int:
    """Frames to decode now; none where not positive."""
    segment, largest = sequence.segment, sequence.request.delivery.max_chunk_frames
    if segment.finish is not None:
        return min(len(segment.frames) - segment.decoded, SIZES[-1])
    return due(segment.launched - segment.decoded, _frames_enough(sequence, now, step), largest)


def _frames_enough(sequence: Sequence, now: float, step: float) -> int:
    """Frames that its next chunk waits for."""
    slack, delivery = sequence.slack(now), sequence.request.delivery
    if sequence.starving:
        return 1
    if slack is None:
        return delivery.first_chunk_frames
    return delivery.max_chunk_frames if step < patience(slack, sequence.playback.waited(now)) else 1


def deadline(sequence: Sequence, now: float) -> float | None:
    """Seconds its frames may stay undecoded.

    None before the first chunk.
    """
    slack = sequence.slack(now)
    return None if slack is None else patience(slack, sequence.playback.waited(now))


def urgency(sequence: Sequence, now: float) -> tuple[float, int]:
    """Sort key of urgency.

    First chunks precede all, those with less of a prompt to read first; the others go by the listener's slack.
    """
    slack = sequence.slack(now)
    if slack is not None:
        return slack, 0
    return -float("inf"), sequence.segment.position - sequence.cached if sequence.segment.ready else 0


def _joins(sequence: Sequence, count: int, size: int) -> bool:
    """Whether a chunk of `count` may be decoded at `size`.

    Nothing is decoded after a segment's last, so that one may be too large.
    """
    over = sequence.segment.finish is not None and count == len(sequence.segment.frames) - sequence.segment.decoded
    return count == size or (over and count <= size)


def _soon_dry(sequence: Sequence, now: float) -> bool:
    """Whether its chunk cannot wait for a step without newcomers."""
    slack = sequence.slack(now)
    return slack is None or slack < SHORT
