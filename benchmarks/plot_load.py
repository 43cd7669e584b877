"""The load test's figures as an SVG picture.

Time to first audio over the rate of requests, beside the best rival.
"""

import argparse
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

WIDTH, HEIGHT = 760, 440
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 50, 55  # margins
TICKS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
RATE_TICKS = (0.5, 1, 2, 4, 10, 20, 40, 60, 100, 200)
COLOURS = ("#1565c0", "#c62828", "#2e7d32", "#6a1b9a")
OURS, RIVAL, GRID, INK = "#1565c0", "#c62828", "#e0e0e0", "#333333"

Points = Sequence[tuple[float, float]]


def main() -> None:
    """Draw the JSON file of `python -m benchmarks.load`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plot_load", description=__doc__)
    parser.add_argument("json", type=Path)
    parser.add_argument("svg", type=Path)
    options = parser.parse_args()
    options.svg.write_text(draw(json.loads(options.json.read_text())))


def draw(document: Mapping[str, Any]) -> str:
    """The picture with logarithmic axes.

    A hollow mark is a rate that was not held.
    """
    rates = [rate for rate in document["rates"] if rate["first_playable"]["p95"] is not None]
    ours = {name: [(rate["rate"], rate["first_playable"][name]) for rate in rates] for name in ("p50", "p95")}
    rival = [(entry["rate"], entry["first_playable_p95"]) for entry in document["best_rival"]]
    axes = Axes([*ours["p50"], *ours["p95"], *rival])
    held, rival_held = _held(rates), _held(document["best_rival"])
    parts = [
        *curve(axes, rival, RIVAL, "best rival p95", rival_held),
        *curve(axes, ours["p50"], OURS, "p50", held, dashes="5 4"),
        *curve(axes, ours["p95"], OURS, "p95", held),
        text(LEFT, HEIGHT - 12, "requests per second (hollow: not held, for underruns or failures)"),
        text(8, TOP - 10, "milliseconds"),
    ]
    return _picture(f"First playable audio under load: {document['about']['model']}", axes, parts)


def several(title: str, lines: Mapping[str, Sequence[tuple[float, float, bool]]]) -> str:
    """Lines by name, with logarithmic axes.

    Each of (rate, milliseconds, whether held).
    """
    axes = Axes([(rate, value) for points in lines.values() for rate, value, _ in points])
    parts: list[str] = []
    for colour, (name, points) in zip(cycle(COLOURS), lines.items(), strict=False):
        held = {rate for rate, _, passed in points if passed}
        parts += curve(axes, [(rate, value) for rate, value, _ in points], colour, name, held)
    return _picture(title, axes, parts)


def _picture(title: str, axes: "Axes", parts: Sequence[str]) -> str:
    """The whole file: `parts` on the grid of `axes`."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        text(LEFT, 24, title, size=16),
        *axes.grid(),
        *parts,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


class Axes:
    """Maps figures to pixels."""

    def __init__(self, points: Points) -> None:
        """All `points` lie inside."""
        self._x = _bounds([rate for rate, _ in points], RATE_TICKS)
        self._y = _bounds([value for _, value in points], TICKS)

    def place(self, rate: float, value: float) -> tuple[float, float]:
        """Pixels from the left, from the top."""
        x = LEFT + _share(rate, self._x) * (WIDTH - LEFT - RIGHT)
        return x, HEIGHT - BOTTOM - _share(value, self._y) * (HEIGHT - TOP - BOTTOM)

    def grid(self) -> Iterator[str]:
        """Lines with their numbers."""
        for tick in (tick for tick in RATE_TICKS if self._x[0] <= tick <= self._x[1]):
            x, _ = self.place(tick, self._y[0])
            yield line([(x, TOP), (x, HEIGHT - BOTTOM)], GRID, 1)
            yield text(x - 6, HEIGHT - BOTTOM + 18, f"{tick:g}")
        for tick in (tick for tick in TICKS if self._y[0] <= tick <= self._y[1]):
            _, y = self.place(self._x[0], tick)
            yield line([(LEFT, y), (WIDTH - RIGHT, y)], GRID, 1)
            yield text(LEFT - 42, y + 4, f"{tick:g}")


def curve(axes: Axes, points: Points, colour: str, name: str, held: set[float], dashes: str = "") -> Iterator[str]:
    """A line with marks, named at its end."""
    places = [axes.place(rate, value) for rate, value in points]
    if not places:
        return
    yield line(places, colour, 2, dashes)
    for (x, y), (rate, value) in zip(places, points, strict=True):
        yield dot(x, y, colour, fill=colour if rate in held else "white", title=f"{rate:g}/s: {value:.1f} ms")
    x, y = places[-1]
    yield text(min(x, WIDTH - 110), y - 10, name, colour)


def line(places: Points, colour: str, width: int, dashes: str = "") -> str:
    """A line through `places`."""
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    style = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}"{style}/>'


def dot(x: float, y: float, colour: str, fill: str, title: str) -> str:
    """A mark with its figures as tooltip."""
    mark = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{fill}" stroke="{colour}" stroke-width="2">'
    return f"{mark}<title>{title}</title></circle>"


def text(x: float, y: float, words: str, colour: str = INK, size: int = 13) -> str:
    """Words that begin at (x, y)."""
    escaped = words.replace("&", "&amp;").replace("<", "&lt;")
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" font-size="{size}">{escaped}</text>'


def _held(entries: Sequence[Mapping[str, Any]]) -> set[float]:
    return {entry["rate"] for entry in entries if entry["passed"]}


def _bounds(values: Sequence[float], ticks: Sequence[float]) -> tuple[float, float]:
    """The ticks around all `values`."""
    low = max((tick for tick in ticks if tick <= min(values)), default=min(values))
    high = min((tick for tick in ticks if tick >= max(values)), default=max(values))
    return (low, high) if low < high else (low, low * 2)


def _share(value: float, bounds: tuple[float, float]) -> float:
    """0 at the lower bound, 1 at the upper one."""
    low, high = bounds
    return math.log(value / low) / math.log(high / low)


if __name__ == "__main__":
    main()
