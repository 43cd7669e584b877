"""`time`: duration of captured calls, against the least possible."""

from tools.codec.decoder import SLOTS, Shape, fused
from tools.codec.replay import captured, microseconds

SHAPES = tuple((rows, frames) for rows in (1, 8, 32, 64) for frames in (1, 2, 4, 8, 12))
WEIGHT_BYTES = 2 * 106_000_000
BYTES_PER_SECOND = 3.0e12  # what plain streaming reads reach on this chip
OPERATIONS_PER_SECOND = 8.0e14  # what a large half-precision product reaches
OPERATIONS_PER_FRAME = 4.96e9


def run(shapes: tuple[Shape, ...]) -> None:
    """A line a shape."""
    decoder = fused()
    state = decoder.new_state(SLOTS, "cuda", decoder.dtype)
    print("streams x frames: microseconds a call (share of the floor)")
    for shape in shapes:
        used = microseconds(captured(decoder, state, shape).graph.replay)
        print(f"{shape[0]:3} x {shape[1]:2}: {used:8.0f} ({floor(shape) / used:3.0%})", flush=True)


def floor(shape: Shape) -> float:
    """Lower bound of the duration, in microseconds.

    The larger of reading the weights once and of the arithmetic.
    """
    reading = WEIGHT_BYTES / BYTES_PER_SECOND
    return 1e6 * max(reading, OPERATIONS_PER_FRAME * shape[0] * shape[1] / OPERATIONS_PER_SECOND)
