"""Lines over time as an SVG picture, with linear axes."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.plot_load import GRID, OURS, RIVAL, line, text

WIDTH, HEIGHT = 760, 300
LEFT, RIGHT, TOP, BOTTOM = 60, 60, 50, 45  # margins
LINES = 5  # of the grid, about


@dataclass(frozen=True, slots=True)
class Curve:
    """One line; `right` measures it on the right axis."""

    name: str
    values: Sequence[float]
    right: bool = False
    dashes: str = ""


def draw(title: str, below: str, times: Sequence[float], curves: Sequence[Curve]) -> str:
    """The picture of curves over the same times."""
    axes = {right: _top(curve for curve in curves if curve.right is right) for right in (False, True)}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        text(LEFT, 20, title, size=16),
        *_grid(times, axes[False], axes[True]),
        *_lines(times, curves, axes),
        text(LEFT, HEIGHT - 8, below),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _grid(times: Sequence[float], left: float, right: float) -> Iterator[str]:
    for part in range(LINES + 1):
        y = _y(part / LINES)
        yield line([(LEFT, y), (WIDTH - RIGHT, y)], GRID, 1)
        yield text(8, y + 4, f"{left * part / LINES:g}", OURS)
        if right:
            yield text(WIDTH - RIGHT + 8, y + 4, f"{right * part / LINES:g}", RIVAL)
    for time in _ticks(times):
        yield text(_x(time, times) - 6, HEIGHT - BOTTOM + 16, f"{time:g}")


def _lines(times: Sequence[float], curves: Sequence[Curve], axes: dict[bool, float]) -> Iterator[str]:
    names = {False: LEFT, True: WIDTH // 2}
    for curve in curves:
        colour, top = (RIVAL if curve.right else OURS), axes[curve.right] or 1.0
        points = [(_x(time, times), _y(value / top)) for time, value in zip(times, curve.values, strict=True)]
        yield line(points, colour, 2, curve.dashes)
        yield text(names[curve.right], 40, curve.name + (" (dashed)" if curve.dashes else ""), colour)
        names[curve.right] += 8 * len(curve.name) + 70


def _x(time: float, times: Sequence[float]) -> float:
    return LEFT + (time - times[0]) / (times[-1] - times[0]) * (WIDTH - LEFT - RIGHT)


def _y(share: float) -> float:
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _top(curves: Iterator[Curve]) -> float:
    """A round number above all values; 0 without curves."""
    most = max((value for curve in curves for value in curve.values), default=0.0)
    if not most:
        return 0.0
    step: float = 10.0 ** math.floor(math.log10(most))
    return next(step * part for part in (1, 1.5, 2, 2.5, 3, 4, 5, 7.5, 10) if step * part >= most)


def _ticks(times: Sequence[float]) -> Iterator[float]:
    span = times[-1] - times[0]
    step = next(step for step in (1, 2, 3, 6, 10, 20, 30, 60, 120, 300, 600, 3_600) if span / step <= 14)
    yield from (step * index + times[0] for index in range(int(span // step) + 1))
