"""Word error rates by kind of sentence, as SVG.

Bars of each voice, with the recogniser's own as marks.
"""

from collections.abc import Iterator, Mapping, Sequence

from training.evaluate.heard import Count

WIDTH, LEFT, TOP, ROW, GAP = 760, 190, 60, 9, 10  # pixels
COLOURS = ("#1565c0", "#64b5f6", "#ad1457", "#f48fb1")
MOST = 0.20  # where the axis ends
TICKS = (0, 0.05, 0.10, 0.15, 0.20)

Series = Mapping[str, Mapping[str, Count]]  # by a name for the legend, by kind


def draw(series: Series, own: Sequence[Mapping[str, Count]], title: str) -> str:
    """The picture, as SVG text.

    `own[i]`: the recogniser's errors on the teacher of series i.
    """
    keys = list(next(iter(series.values())))
    height = TOP + len(keys) * (ROW * len(series) + GAP) + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        _text(LEFT, 22, title, 15),
        *_legend(list(series)),
        *_axis(height),
        *(line for place, key in enumerate(keys) for line in _group(place, key, series, own)),
        "</svg>\n",
    ]
    return "\n".join(parts)


def _group(place: int, key: str, series: Series, own: Sequence[Mapping[str, Count]]) -> Iterator[str]:
    top = TOP + place * (ROW * len(series) + GAP)
    middle = top + ROW * len(series) / 2 + 4
    inner = ":" in key
    yield _text(LEFT - 10, middle, key.partition(": ")[2] or key, 12, end=True, bold=not inner)
    for number, (counts, teacher) in enumerate(zip(series.values(), own, strict=True)):
        y, rate = top + number * ROW, counts[key].rate
        yield f'<rect x="{LEFT}" y="{y}" width="{_x(rate) - LEFT:.1f}" height="{ROW - 1}" fill="{COLOURS[number]}"/>'
        if rate > MOST:
            yield _text(WIDTH - 34, y + ROW - 1, f"{rate:.0%}", 9)
        if key in teacher:
            x = _x(teacher[key].rate)
            yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y - 1}" y2="{y + ROW}" stroke="#212121" stroke-width="2"/>'


def _legend(names: Sequence[str]) -> Iterator[str]:
    step = (WIDTH - LEFT) / (len(names) + 1)
    for number, name in enumerate(names):
        x = LEFT + number * step
        yield f'<rect x="{x:.0f}" y="32" width="10" height="10" fill="{COLOURS[number]}"/>{_text(x + 14, 41, name, 11)}'
    x = LEFT + len(names) * step
    yield f'<line x1="{x:.0f}" x2="{x:.0f}" y1="31" y2="43" stroke="#212121" stroke-width="2"/>'
    yield _text(x + 8, 41, "recogniser's own", 11)


def _axis(height: int) -> Iterator[str]:
    for tick in TICKS:
        yield f'<line x1="{_x(tick):.1f}" x2="{_x(tick):.1f}" y1="{TOP - 8}" y2="{height - 30}" stroke="#e0e0e0"/>'
        yield _text(_x(tick) - 8, height - 14, f"{tick:.0%}", 11)


def _x(rate: float) -> float:
    return LEFT + min(rate, MOST) / MOST * (WIDTH - LEFT - 40)


def _text(x: float, y: float, words: str, size: int, *, end: bool = False, bold: bool = False) -> str:
    anchor = ' text-anchor="end"' if end else ""
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}"{anchor}{weight} fill="#333333">{words}</text>'
